using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>A TCG event log as a machine reports it: SHA-1 only (TCG_PCR_EVENT) or crypto-agile (TCG_PCR_EVENT2). Nothing of it is proven.</summary>
/// <remarks>PC Client Platform Firmware Profile 1.06, 10.2 and 10.4.5.1. Data that cannot be read are a value; framing that cannot be read ends the log.</remarks>
public sealed class BootLog
{
    /// <summary>The largest log, in bytes. Real ones have 10 to 100 KB.</summary>
    public const int MaxBytes = 16 << 20;

    public const int MaxEvents = 65_536;

    /// <summary>The most banks, and the most digests of an event.</summary>
    public const int MaxDigests = 16;

    /// <summary>The most data of an event, in bytes: the largest that are met are key databases.</summary>
    public const int MaxEventBytes = 1 << 20;

    private BootLog(ReadOnlyMemory<byte> encoded, bool cryptoAgile, ImmutableArray<TpmAlgorithm> banks, ImmutableArray<BootEvent> events) =>
        (Encoded, IsCryptoAgile, Banks, Events) = (encoded, cryptoAgile, banks, events);

    /// <summary>The bytes that it was read from.</summary>
    public ReadOnlyMemory<byte> Encoded { get; }

    /// <summary>False for the SHA-1 form of TPM 1.2's days.</summary>
    public bool IsCryptoAgile { get; }

    /// <summary>The banks that the log has digests for, in its order.</summary>
    public ImmutableArray<TpmAlgorithm> Banks { get; }

    /// <summary>All events, in the log's order.</summary>
    public ImmutableArray<BootEvent> Events { get; }

    /// <summary>Reads a whole log: to its last byte, or not at all.</summary>
    /// <param name="log">Kept, not copied.</param>
    /// <param name="error">What is wrong, in which event, and at which byte.</param>
    public static bool TryParse(ReadOnlyMemory<byte> log, [NotNullWhen(true)] out BootLog? parsed, [NotNullWhen(false)] out string? error)
    {
        (parsed, error) = (null, null);
        if (log.IsEmpty)
        {
            error = "The boot log is empty: an event at least is expected.";
            return false;
        }

        if (log.Length > MaxBytes)
        {
            error = $"The boot log has {log.Length} bytes; {MaxBytes} at most are read.";
            return false;
        }

        var events = ImmutableArray.CreateBuilder<BootEvent>();
        try
        {
            var reader = new BootReader(log);
            var first = BootEventReader.ReadLegacy(ref reader, 0);
            if (RemarkReader.IsAgile(first) && first.UntrustedData is BootEventData.Malformed wrong)
                BootReader.Throw($"a Spec ID event that cannot be read ({wrong.Reason.TrimEnd('.')})", 0);
            events.Add(first);
            var agile = first.UntrustedData is BootEventData.SpecId { Banks.IsEmpty: false };
            var banks = first.UntrustedData is BootEventData.SpecId id && agile ? id.Banks : [(TpmAlgorithm.Sha1, TpmAlgorithm.Sha1.DigestSize())];
            while (!reader.AtEnd)
            {
                if (events.Count == MaxEvents)
                    BootReader.Throw($"more than {MaxEvents} events", reader.Position);
                events.Add(agile ? BootEventReader.Read(ref reader, events.Count, banks) : BootEventReader.ReadLegacy(ref reader, events.Count));
            }

            parsed = new BootLog(log, agile, [.. banks.Select(static bank => bank.Item1)], events.DrainToImmutable());
            return true;
        }
        catch (BootFormatException e)
        {
            error = $"The boot log cannot be read: event {events.Count}: {e.Message}";
            return false;
        }
    }
}
