using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;

namespace Keylime.Attestation;

/// <summary>A measurement list without a quote: for tools. Nothing in it is proven.</summary>
public static class ImaList
{
    /// <summary>The form of a list, by its first bytes: a PCR's number is four bytes in the one, digits in the other.</summary>
    public static ImaListFormat FormatOf(ReadOnlySpan<byte> list) =>
        list is [< 24, 0, 0, 0, ..] ? ImaListFormat.Binary : ImaListFormat.Text;

    /// <summary>Reads a whole list whose template hashes are SHA-1, as <c>ascii_runtime_measurements</c> has them.</summary>
    /// <remarks>An entry of a template that cannot be taken apart is left out: its <see cref="ImaEntry.Line"/> is missing.</remarks>
    /// <param name="error">What, in which line (counted from 0), and what was expected.</param>
    public static bool TryRead(
        ReadOnlyMemory<byte> list, ImaListFormat format, out ImmutableArray<ImaEntry> entries, [NotNullWhen(false)] out string? error) =>
        TryRead(list, format, SHA1.HashSizeInBytes, out entries, out error);

    /// <inheritdoc cref="TryRead(ReadOnlyMemory{byte}, ImaListFormat, out ImmutableArray{ImaEntry}, out string?)"/>
    /// <param name="templateHashSize">Of the list's template hashes, in bytes: 20, or more of <c>ascii_runtime_measurements_sha256</c> and its like.</param>
    public static bool TryRead(
        ReadOnlyMemory<byte> list, ImaListFormat format, int templateHashSize, out ImmutableArray<ImaEntry> entries, [NotNullWhen(false)] out string? error)
    {
        (entries, error) = ([], null);
        var read = ImmutableArray.CreateBuilder<ImaEntry>();
        var reader = new ImaReader(list.Span, format, templateHashSize);
        for (long line = 0; ; line++)
        {
            switch (reader.Next(out var record, out var wrong))
            {
                case ImaStep.End:
                    entries = read.DrainToImmutable();
                    return true;
                case ImaStep.Entry:
                    if (record.Template is not null)
                        read.Add(Copy(record, line));
                    break;
                default:
                    error = $"Line {line}: {wrong}.";
                    return false;
            }
        }
    }

    private static ImaEntry Copy(in ImaRecord record, long line) => new(
        line, record.Pcr, Encoding.ASCII.GetString(record.TemplateName), record.Path.ToArray(), Encoding.ASCII.GetString(record.Algorithm),
        record.Digest.ToArray(), record.Signature.ToArray(), record.Buffer.ToArray(), record.IsVerity, record.IsViolation)
    {
        IsBuffer = record.Template!.HasBuffer,
    };
}
