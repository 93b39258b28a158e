using System.Security.Cryptography;
using System.Text;
using CsCheck;

namespace Keylime.Attestation.Tests;

/// <summary>Keys of every form, keyrings as policies have them, and keyrings as they are stored.</summary>
public static class KeyringTests
{
    [Fact]
    public static void A_key_is_the_same_in_every_form()
    {
        var (rsa, ec) = (FileKeys.Read(FileKeys.Rsa), FileKeys.Read(FileKeys.P256));
        byte[][] ofRsa =
        [
            FileKeys.Rsa.ExportRSAPublicKey(), FileKeys.Rsa.ExportRSAPrivateKey(), FileKeys.Rsa.ExportPkcs8PrivateKey(), FileKeys.Certify(FileKeys.Rsa).RawData,
            Text(FileKeys.Rsa.ExportSubjectPublicKeyInfoPem()), Text(FileKeys.Rsa.ExportRSAPublicKeyPem()), Text(FileKeys.Rsa.ExportRSAPrivateKeyPem()),
            Text(FileKeys.Rsa.ExportPkcs8PrivateKeyPem()), Text(FileKeys.Certify(FileKeys.Rsa).ExportCertificatePem()),
        ];
        byte[][] ofEc =
        [
            FileKeys.P256.ExportECPrivateKey(), FileKeys.P256.ExportPkcs8PrivateKey(), FileKeys.Certify(FileKeys.P256).RawData, Text(FileKeys.P256.ExportSubjectPublicKeyInfoPem()),
            Text("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + FileKeys.P256.ExportECPrivateKeyPem() + "\n"),
        ];
        foreach (var (form, key) in ofRsa.Select(form => (form, rsa)).Concat(ofEc.Select(form => (form, ec))))
        {
            Assert.Equal(key.Key.Hash, FileKeys.Read(form).Key.Hash);
            Assert.Equal(key.Id, FileKeys.Read(form).Id);
        }
    }

    [Fact]
    public static void A_certificate_names_its_key_by_the_tail_of_its_identifier()
    {
        Assert.Equal(0x01020304u, FileKeys.Read(FileKeys.Certify(FileKeys.P256, [9, 9, 9, 1, 2, 3, 4]).RawData).Id);
        Assert.Equal(FileKeys.Read(FileKeys.P256).Id, FileKeys.Read(FileKeys.Certify(FileKeys.P256, [1, 2, 3]).RawData).Id); // too short for an id
    }

    [Fact]
    public static void What_is_no_key_of_use_says_why()
    {
        using var small = RSA.Create(1024);
        using var brainpool = ECDsa.Create(ECCurve.NamedCurves.brainpoolP256r1);
        var spki = FileKeys.P256.ExportSubjectPublicKeyInfo();
        (byte[], string)[] cases =
        [
            ([], "no public key"),
            (small.ExportSubjectPublicKeyInfo(), "1024 bits"),
            (brainpool.ExportSubjectPublicKeyInfo(), "P-256"),
            ([.. spki, 0], "1 bytes behind"),
            (spki[..^1], "no public key"),
            (Text("-----BEGIN PUBLIC KEY-----\nAAAA"), "no complete PEM"),
            (Text(FileKeys.P256.ExportSubjectPublicKeyInfoPem() + "\n" + FileKeys.Rsa.ExportSubjectPublicKeyInfoPem()), "more than one"),
            (Text(FileKeys.P256.ExportEncryptedPkcs8PrivateKeyPem("x", new PbeParameters(PbeEncryptionAlgorithm.Aes128Cbc, HashAlgorithmName.SHA256, 1))), "encrypted"),
            (new byte[70_000], "65536 at most"),
        ];
        foreach (var (bytes, why) in cases)
        {
            Assert.False(ImaKey.TryRead(bytes, out _, out var error));
            Assert.Contains(why, error);
        }
    }

    [Fact]
    public static void Any_bytes_give_a_key_or_a_reason() =>
        Gen.OneOf(Gen.Byte.Array[0, 200], Gen.Int[0, 90].Select(Gen.Byte).Select((at, b) => Changed(FileKeys.P256.ExportSubjectPublicKeyInfo(), at, b)),
            Gen.Int[0, 300].Select(Gen.Byte).Select((at, b) => Changed(FileKeys.Certify(FileKeys.P384).RawData, at, b))).Sample(bytes =>
        {
            if (!ImaKey.TryRead(bytes, out var key, out var error))
                Assert.NotEmpty(error);
            else
                Assert.StartsWith("ecc-", key.Key.Type);
        }, iter: 300);

    [Fact]
    public static void A_policy_s_keys_are_read_and_written()
    {
        var json = $$"""{"meta":{"version":1},"keyids":[1394556965,0],"pubkeys":["{{Base64(FileKeys.P256)}}","{{Base64(FileKeys.Rsa)}}"],"x":1}""";
        Assert.True(Keyring.TryFromPolicy(json, out var ring, out var error), error);
        Assert.Equal(2, ring.Keys.Length);
        Assert.Contains(ring.Keys, k => k.Id == 1394556965 && k.Key.Type == "ecc-nist-p256"); // the id that is named wins
        Assert.Contains(ring.Keys, k => k.Id == FileKeys.Read(FileKeys.Rsa).Id);

        Assert.True(Keyring.TryFromPolicy(ring.ToPolicy(), out var again, out error), error);
        Assert.Equal(ring.Keys.Select(k => (k.Id, k.Key.Hash)), again.Keys.Select(k => (k.Id, k.Key.Hash)));
        Assert.True(Keyring.TryFromPolicy("", out var none, out _));
        Assert.Empty(none.Keys);
        Assert.Equal("", none.ToPolicy());
        Assert.True(Keyring.TryFromPolicy($$"""{"keyids":[],"pubkeys":["{{Base64(FileKeys.P256)}}"]}""", out var computed, out _));
        Assert.Equal(FileKeys.Read(FileKeys.P256).Id, computed.Keys.Single().Id);
    }

    [Theory]
    [InlineData("x", "$: no JSON: ")]
    [InlineData("null", "$: Null found")]
    [InlineData("[]", "$: Array found")]
    [InlineData("{}", "$.keyids: the member is missing")]
    [InlineData("""{"keyids":[]}""", "$.pubkeys: the member is missing")]
    [InlineData("""{"keyids":{},"pubkeys":[]}""", "$.keyids: Object found")]
    [InlineData("""{"keyids":[],"pubkeys":[7]}""", "$.pubkeys[0]: base64")]
    [InlineData("""{"keyids":[],"pubkeys":["!"]}""", "$.pubkeys[0]: base64")]
    [InlineData("""{"keyids":[],"pubkeys":["AAAA"]}""", "$.pubkeys[0]: it is no public key")]
    [InlineData("""{"keyids":[1],"pubkeys":[]}""", "1 ids for 0 keys")]
    [InlineData("""{"keyids":["1"],"pubkeys":["KEY"]}""", "$.keyids[0]")]
    [InlineData("""{"keyids":[-1],"pubkeys":["KEY"]}""", "$.keyids[0]")]
    [InlineData("""{"keyids":[4294967296],"pubkeys":["KEY"]}""", "$.keyids[0]")]
    [InlineData("""{"meta":{},"keyids":[],"pubkeys":[]}""", "$.meta.version")]
    [InlineData("""{"meta":{"version":0},"keyids":[],"pubkeys":[]}""", "$.meta.version")]
    [InlineData("""{"meta":7,"keyids":[],"pubkeys":[]}""", "$.meta: Number found")]
    [InlineData("""{"keyids":[],"keyids":[],"pubkeys":[]}""", "keyids")]
    [InlineData("\"{}\"", "$: String found")]
    public static void What_is_no_keyring_of_a_policy_is_refused_with_its_place(string json, string where)
    {
        Assert.False(Keyring.TryFromPolicy(json.Replace("KEY", Base64(FileKeys.P256), StringComparison.Ordinal), out var ring, out var error));
        Assert.Null(ring);
        Assert.Contains(where, error);
    }

    [Fact]
    public static void A_set_has_one_form_of_bytes()
    {
        var keys = new[] { FileKeys.Rsa, (AsymmetricAlgorithm)FileKeys.P256, FileKeys.P384 }.Select(FileKeys.Read).ToArray();
        var bytes = Add(keys, [".ima", ".evm", "_ima"]).Encode();
        Assert.Equal(bytes, Add([.. keys.Reverse()], ["_ima", ".ima", ".evm"]).Encode());
        Assert.True(KeyringSet.TryDecode(bytes, out var set, out var error), error);
        Assert.Equal(bytes, set.Encode());
        Assert.Equal(9, set.Rings.Values.Sum(r => r.Keys.Length));
        Assert.Equal(new byte[] { 1, 0, 0 }, KeyringSet.Empty.Encode());

        for (var length = 0; length < bytes.Length; length++)
            Assert.False(KeyringSet.TryDecode(bytes.AsSpan(0, length), out _, out _));
        Assert.False(KeyringSet.TryDecode([.. bytes, 0], out _, out var behind));
        Assert.Contains("1 bytes left over", behind);

        Gen.Int[0, bytes.Length - 1].Select(Gen.Byte).Sample((at, b) =>
        {
            var changed = Changed(bytes, at, b);
            if (KeyringSet.TryDecode(changed, out var other, out _))
                Assert.Equal(changed, other.Encode()); // no two forms of one set
        });

        static KeyringSet Add(ImaKey[] keys, string[] rings)
        {
            var set = KeyringSet.Empty;
            foreach (var ring in rings)
            {
                foreach (var key in keys.Append(keys[0]))
                {
                    Assert.True(set.TryAdd(ring, key, out var with, out var error), error);
                    set = with;
                }
            }

            return set;
        }
    }

    [Fact]
    public static void Sets_are_bounded()
    {
        var key = FileKeys.Read(FileKeys.P256);
        Assert.False(KeyringSet.Empty.TryAdd("", key, out _, out var empty));
        Assert.Contains("0 bytes", empty);
        Assert.False(KeyringSet.Empty.TryAdd(new string('x', 256), key, out _, out _));
        var set = KeyringSet.Empty;
        for (var i = 0; i < KeyringSet.MaxRings; i++)
            set = set.With($"ring{i}", Keyring.Empty.Add(key));
        Assert.False(set.TryAdd("one more", key, out _, out var rings));
        Assert.Contains("64 keyrings", rings);

        var full = new Keyring([.. Enumerable.Range(0, Keyring.MaxKeys).Select(i => new ImaKey(key.Key, (uint)i))]);
        Assert.Throws<InvalidOperationException>(() => full.Add(new ImaKey(key.Key, uint.MaxValue)));
        Assert.Same(full, full.Add(new ImaKey(key.Key, 7)));
        Assert.False(KeyringSet.Empty.With("full", full).TryAdd("full", new ImaKey(key.Key, uint.MaxValue), out _, out var keys));
        Assert.Contains("1024 keys", keys);
    }

    private static byte[] Changed(byte[] bytes, int at, byte b)
    {
        byte[] changed = [.. bytes];
        changed[at % bytes.Length] = b;
        return changed;
    }

    private static byte[] Text(string pem) => Encoding.ASCII.GetBytes(pem);

    private static string Base64(AsymmetricAlgorithm key) => Convert.ToBase64String(key.ExportSubjectPublicKeyInfo());
}
