using System.Security.Cryptography;
using System.Text;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Buffers that were measured: keys, device-mapper events, command lines, and what else the kernel calls critical data.</summary>
internal sealed partial class ImaJudge
{
    private const int MaxShown = 200;

    // A list may be full of odd keys, each of which costs more to read than its line to hash.
    private const int MaxKeysRead = KeyringSet.MaxKeys;
    private const int MaxRefusedBuffers = 200;

    private readonly HashSet<string> _learned = [];
    private int _keysRead;
    private int _refusedBuffers;

    private void JudgeBuffer(in ImaRecord entry, long line)
    {
        // PCR 10 is open to whoever may use the TPM: an entry that the kernel never made can be in the list, with the digest of one buffer
        // and the bytes of another. The kernel hashes the bytes that it lists (ima_main.c, process_buffer_measurement).
        var vouched = DigestFits(entry);
        if (vouched == false)
        {
            _findings.Add(ImaBufferMismatch, "has a digest that is not that of its bytes: the kernel makes no such entry", entry, line, []);
            return;
        }

        if (DeviceMapperEvents.IsName(entry.Path) && _settings.Devices is { } devices && vouched == true && _refusedBuffers < MaxRefusedBuffers)
            JudgeDevice(devices, entry, line);
        else if (IsBufferListed(entry, static rules => rules.Keyrings))
            TakeKey(entry, line, vouched == true);
        else if (IsBufferListed(entry, static rules => rules.Buffers))
            _tally = _tally with { Buffers = _tally.Buffers + 1 };
        else if (IsExcluded(entry.Path))
            _tally = _tally with { Excluded = _tally.Excluded + 1 };
        else if (ReadKey(entry) is var key && key is not null && IsIgnored(entry.Path))
            _tally = _tally with { Keys = _tally.Keys + 1 };
        else
            RefuseBuffer(key, entry, line);
    }

    private void JudgeDevice(DeviceMapperPolicy policy, in ImaRecord entry, long line)
    {
        var step = _state.Devices.Apply(policy, entry.Path, entry.Buffer);
        _state = _state with { Devices = step.State };
        if (step.Findings.IsEmpty)
            _tally = _tally with { Devices = _tally.Devices + 1 };
        else
            _refusedBuffers++;
        foreach (var finding in step.Findings)
            _findings.Add(finding with { Detail = $"Line {line}: {finding.Detail}" });
    }

    /// <summary>
    /// A listed key: files behind it are verified with it. One of a kind that cannot be read here may be loaded all the same, and verifies nothing; nor does
    /// one whose keyring is ignored.
    /// </summary>
    private void TakeKey(in ImaRecord entry, long line, bool vouched)
    {
        _tally = _tally with { Keys = _tally.Keys + 1 };
        if (!vouched || IsIgnored(entry.Path) || !_learned.Add($"{Convert.ToHexString(entry.Path)} {Convert.ToHexString(entry.Digest)}") || ReadKey(entry) is not { } key)
            return;
        if (_state.Keyrings.TryAdd(Encoding.UTF8.GetString(entry.Path), key, out var learned, out var error))
            _state = _state with { Keyrings = learned };
        else
            _findings.Add(ImaKeyMalformed, $"got a key that cannot be kept: {error}", entry, line, []);
    }

    /// <returns><see langword="null"/> for what is no key; or for what is not looked at any more, because there were too many of them.</returns>
    private ImaKey? ReadKey(in ImaRecord entry)
    {
        // DER starts so, and PEM: what does not need not be tried.
        if (entry.Buffer is not [0x30, ..] && !entry.Buffer.StartsWith("-----BEGIN"u8) || _keysRead >= MaxKeysRead || _refusedBuffers >= MaxRefusedBuffers)
            return null;
        _keysRead++;
        return ImaKey.TryRead(entry.Buffer, out var key, out _) ? key : null;
    }

    private void RefuseBuffer(ImaKey? key, in ImaRecord entry, long line)
    {
        _refusedBuffers++;
        var keys = AllowedFor(entry.Path, static rules => rules.Keyrings);
        if (key is not null)
        {
            var why = keys.IsEmpty ? "the policy lists no key for this keyring" : "it is none of those that the policy lists for this keyring";
            _findings.Add(ImaKeyNotAllowed, $"got the key {key.Key.Type} with id {key.Id:x8}: {why}", entry, line, keys);
            return;
        }

        if (!keys.IsEmpty)
        {
            _findings.Add(ImaKeyMalformed, "got what is no key that can be read here, and is none of those that the policy lists for this keyring", entry, line, keys);
            return;
        }

        var allowed = AllowedFor(entry.Path, static rules => rules.Buffers);
        var device = DeviceMapperEvents.IsName(entry.Path) && _settings.Devices is null ? "; it is an event of the device mapper, and the policy has no dm_policy" : "";
        var what = allowed.IsEmpty ? "is a measured buffer that the policy does not list" : "is a measured buffer with a digest that the policy does not allow";
        _findings.Add(ImaBufferNotAllowed, $"{what}{device}; it starts '{PrintablePath.From(entry.Buffer[..Math.Min(MaxShown, entry.Buffer.Length)])}'", entry, line, allowed);
    }

    private bool IsBufferListed(in ImaRecord entry, Func<RuntimeRules, DigestTable> table)
    {
        foreach (var layer in _live)
        {
            if (table(layer.Rules).Contains(entry.Path, entry.Algorithm, entry.Digest))
                return true;
        }

        return false;
    }

    private bool IsIgnored(ReadOnlySpan<byte> keyring)
    {
        foreach (var layer in _live)
        {
            if (layer.Rules.IgnoresKeyring(keyring))
                return true;
        }

        return false;
    }

    /// <returns><see langword="null"/> where the hash is not one that can be computed here.</returns>
    private static bool? DigestFits(in ImaRecord entry)
    {
        Span<byte> computed = stackalloc byte[Tpm.TpmAlgorithms.MaxDigestSize];
        if (!KernelHashes.TryFromName(entry.Algorithm.IsEmpty ? "sha1"u8 : entry.Algorithm, out var hash) || hash.RuntimeName() is not { } name)
            return null;
        try
        {
            return CryptographicOperations.HashData(name, entry.Buffer, computed) is var length && entry.Digest.SequenceEqual(computed[..length]);
        }
        catch (PlatformNotSupportedException)
        {
            return null;
        }
    }
}
