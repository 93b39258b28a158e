using System.Security.Cryptography;
using System.Text;
using Keylime.Attestation;

namespace Keylime.Fuzz;

/// <summary>What runtime appraisal parses: signatures and keys of files, events of the device mapper, signed envelopes, patterns.</summary>
internal static class RuntimeTargets
{
    private const string Load =
        "dm_version=4.45.0;name=a,uuid=b,major=253,minor=0,minor_count=1,num_targets=1;target_index=0,target_begin=0,target_len=8,target_name=linear,target_version=1.4.0,device_name=7:0,start=0;";

    private static readonly byte[] Spki = Convert.FromBase64String( // the generator of P-256: some point, the same in every run
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==");

    private static readonly Lazy<KeyringSet> Ring = new(static () => KeyringSet.Empty.With("k", Keyring.Empty.Add(ImaKey.TryRead(Spki, out var key, out var error) ? key : throw new InvalidOperationException(error))));

    private static readonly Lazy<DeviceMapperPolicy> Policy = new(static () => DeviceMapperPolicy.TryParse(
        """
        {"version":1,"match_on":"name","rules":{"r":{"required":false,"device_resume_required":true,"device_rename":{"valid_name":null,"valid_uuid":null},
        "device_remove":{"allow_removal":true},"allow_clear":true,"table_load":{"allow_multiple_loads":true,"name":".*","uuid":null,"major":null,"minor":null,"minor_count":null,
        "num_targets":1,"targets":[{"start":0}]}}}}
        """u8.ToArray(), out var policy, out var error) ? policy : throw new InvalidOperationException(error));

    private static readonly string[] Events = ["dm_table_load", "dm_device_resume", "dm_device_remove", "dm_table_clear", "dm_device_rename", "dm_target_update"];

    public static IEnumerable<byte[]> SeedsOf(string target) => target switch
    {
        "signatures" => [[3, 2, 4, .. BitConverter.GetBytes(Ring.Value.Rings["k"].Keys[0].Id).Reverse(), 0, 8, 0x30, 6, 2, 1, 1, 2, 1, 1], [3, 1, .. new byte[14], 1, 0, 8, 7]],
        "keys" => [Spki, Encoding.ASCII.GetBytes(PemEncoding.WriteString("PUBLIC KEY", Spki)), Ring.Value.Encode(), Encoding.ASCII.GetBytes(Ring.Value.Rings["k"].ToPolicy())],
        "devices" => [[0, .. Encoding.ASCII.GetBytes(Load)], [1, .. "dm_version=4.45.0;name=a,uuid=b;device_resume=no_data;current_device_capacity=0;"u8]],
        "envelopes" => ["""{"payload":"eA==","payloadType":"t","signatures":[{"keyid":"k","sig":"eA=="}]}"""u8.ToArray()],
        _ => ["a*(b|[^c-e]){2,3}?\\w$\0aabb"u8.ToArray(), "(?P<n>x)(?!y).*\0xyz"u8.ToArray(), "(?im:^a$\\b)\0A\n"u8.ToArray()],
    };

    public static void Signatures(byte[] bytes)
    {
        if (ImaSignature.TryParse(bytes, out var signature, out _))
            _ = Ring.Value.Verify(signature, new byte[signature.Hash.Size()], Encoding.ASCII.GetBytes(signature.Hash.Name()), signature.Kind == ImaSignatureKind.Verity);
    }

    public static void Keys(byte[] bytes)
    {
        _ = ImaKey.TryRead(bytes, out _, out _);
        _ = Keyring.TryFromPolicy(Encoding.UTF8.GetString(bytes), out _, out _);
        if (KeyringSet.TryDecode(bytes, out var set, out _) && !set.Encode().AsSpan().SequenceEqual(bytes))
            throw new InvalidOperationException("malleable");
    }

    // Which event, and its text, in a state where a table is loaded.
    public static void Devices(byte[] bytes)
    {
        if (bytes.Length == 0)
            return;
        var state = DeviceMapperState.Empty.Apply(Policy.Value, "dm_table_load"u8, Encoding.ASCII.GetBytes(Load)).State;
        var step = state.Apply(Policy.Value, Encoding.ASCII.GetBytes(Events[bytes[0] % Events.Length]), bytes.AsSpan(1));
        if (!DeviceMapperState.TryDecode(step.State.Encode(), out _, out var error))
            throw new InvalidOperationException(error);
        _ = step.State.Complete(Policy.Value);
        if (DeviceMapperState.TryDecode(bytes, out var other, out _) && !other.Encode().AsSpan().SequenceEqual(bytes))
            throw new InvalidOperationException("malleable");
        _ = DeviceMapperPolicy.TryParse(bytes, out _, out _);
    }

    public static void Envelopes(byte[] bytes)
    {
        _ = DsseEnvelope.IsEnvelope(bytes);
        if (DsseEnvelope.TryParse(bytes, out var envelope, out _))
            _ = envelope.Verify(SigningTrust.None.TryAdd("k", Spki, out var trust, out var error) ? trust : throw new InvalidOperationException(error), DateTimeOffset.UnixEpoch);
    }

    // A pattern, a zero, and a text for it.
    public static void Patterns(byte[] bytes)
    {
        var end = Array.IndexOf(bytes, (byte)0);
        var pattern = Encoding.UTF8.GetString(bytes, 0, end < 0 ? bytes.Length : end);
        foreach (var extent in (PatternExtent[])[PatternExtent.Prefix, PatternExtent.Whole])
        {
            if (PatternList.TryCreate(pattern, extent, "$", out var list, out _) && end >= 0)
                _ = list.Matches(bytes.AsSpan(end + 1));
        }
    }
}
