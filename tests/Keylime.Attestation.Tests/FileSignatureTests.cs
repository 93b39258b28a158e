using System.Security.Cryptography;
using System.Text;
using CsCheck;

namespace Keylime.Attestation.Tests;

/// <summary>Signatures of files: each version and key, what they are over, and what is none.</summary>
public static class FileSignatureTests
{
    private static readonly byte[] Content = SHA256.HashData("content"u8);

    public static TheoryData<string, byte, byte> Forms => new()
    {
        { "rsa", 3, 2 }, { "rsa", 3, 3 }, { "rsa", 6, 3 }, { "p256", 3, 2 }, { "p256", 6, 3 }, { "p384", 3, 2 }, { "p521", 3, 2 }, { "p521", 6, 3 },
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public static void A_signature_verifies_with_its_key_alone(string key, byte type, byte version)
    {
        var signer = Key(key);
        var bytes = FileKeys.Sign(signer, KernelHash.Sha256, Content, type, version);
        var keys = FileKeys.Set(FileKeys.Read(signer));
        Assert.Equal(".ima", Assert.IsType<SignatureResult.Verified>(Verify(keys, bytes, Content, verity: type == 6)).Keyring);

        Assert.IsType<SignatureResult.Invalid>(Verify(keys, bytes, SHA256.HashData("other"u8), verity: type == 6));
        Assert.IsType<SignatureResult.Unsupported>(Verify(keys, bytes, Content, verity: type != 6));
        Assert.IsType<SignatureResult.UnknownKey>(Verify(FileKeys.Set(FileKeys.Read(key == "rsa" ? FileKeys.P256 : FileKeys.Rsa)), bytes, Content, verity: type == 6));
        Assert.IsType<SignatureResult.UnknownKey>(Verify(KeyringSet.Empty, bytes, Content, verity: type == 6));
        bytes[^1] ^= 1;
        Assert.IsType<SignatureResult.Invalid>(Verify(keys, bytes, Content, verity: type == 6));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public static void A_signature_of_version_1_covers_its_header_too(bool sha256)
    {
        var digest = sha256 ? Content : new byte[20];
        var algorithm = sha256 ? "sha256" : "sha1";
        var keys = FileKeys.Set(FileKeys.Read(FileKeys.Rsa), FileKeys.Read(FileKeys.P256));
        var bytes = FileKeys.SignFirst(FileKeys.Rsa, digest, sha256);
        Assert.IsType<SignatureResult.Verified>(Verify(keys, bytes, digest, algorithm));

        for (var at = 2; at < 6; at++) // the time, which nobody looks at
        {
            byte[] changed = [.. bytes];
            changed[at] ^= 1;
            Assert.IsType<SignatureResult.Invalid>(Verify(keys, changed, digest, algorithm));
        }

        bytes[8] ^= 1; // the key's id
        Assert.IsType<SignatureResult.UnknownKey>(Verify(keys, bytes, digest, algorithm));
    }

    [Theory]
    [InlineData(KernelHash.Md5)]
    [InlineData(KernelHash.Sha1)]
    [InlineData(KernelHash.Sha384)]
    [InlineData(KernelHash.Sha512)]
    [InlineData(KernelHash.Sha3Of256)]
    public static void Every_hash_that_the_runtime_signs_with_verifies(KernelHash hash)
    {
        var digest = RandomNumberGenerator.GetBytes(hash.Size());
        var bytes = FileKeys.Sign(FileKeys.Rsa, hash, digest);
        Assert.IsType<SignatureResult.Verified>(Verify(FileKeys.Set(FileKeys.Read(FileKeys.Rsa)), bytes, digest, hash.Name()));
        // the same bytes under another name are another statement
        Assert.IsType<SignatureResult.Invalid>(Verify(FileKeys.Set(FileKeys.Read(FileKeys.Rsa)), bytes, digest, "rmd160"));
    }

    [Fact]
    public static void Of_two_keys_with_one_id_the_one_that_signed_counts()
    {
        var id = FileKeys.Read(FileKeys.P256).Id;
        var other = FileKeys.Read(FileKeys.Certify(FileKeys.P384, [1, 2, .. Bytes(id)]).RawData);
        Assert.Equal(id, other.Id);
        var keys = FileKeys.Set(other, FileKeys.Read(FileKeys.P256));
        Assert.Equal("ecc-nist-p256", Assert.IsType<SignatureResult.Verified>(Verify(keys, FileKeys.Sign(FileKeys.P256, KernelHash.Sha256, Content), Content)).Key.Key.Type);
        Assert.Equal("ecc-nist-p384", Assert.IsType<SignatureResult.Verified>(Verify(keys, FileKeys.Sign(FileKeys.P384, KernelHash.Sha256, Content, id: id), Content)).Key.Key.Type);
        Assert.IsType<SignatureResult.Invalid>(Verify(keys, FileKeys.Sign(FileKeys.P521, KernelHash.Sha256, Content, id: id), Content));
    }

    [Theory]
    [InlineData(3, 2, KernelHash.Streebog256, "streebog256", 32, "EC-RDSA")]
    [InlineData(3, 2, KernelHash.Sm3, "sm3", 32, "SM2")]
    [InlineData(3, 2, KernelHash.Whirlpool512, "wp512", 64, "wp512")]
    [InlineData(3, 3, KernelHash.Sha224, "sha224", 28, "sha224")]
    [InlineData(5, 2, KernelHash.Sha256, "sha256", 32, "metadata")]
    [InlineData(6, 2, KernelHash.Sha256, "sha256", 32, "version 3")]
    public static void What_nobody_here_can_verify_says_why(byte type, byte version, KernelHash hash, string name, int size, string why)
    {
        var bytes = FileKeys.Later(type, version, (byte)hash, FileKeys.Read(FileKeys.Rsa).Id, new byte[256]);
        var result = Verify(FileKeys.Set(FileKeys.Read(FileKeys.Rsa)), bytes, new byte[size], name, verity: type == 6);
        Assert.Contains(why, Assert.IsType<SignatureResult.Unsupported>(result).Why);
    }

    public static TheoryData<string, string> Malformed => new()
    {
        { "", "0 bytes" },
        { "0302040000000000", "8 bytes" },
        { "020204000000010001FF", "type is 0x02" },
        { "030404000000010001FF", "version is 4" },
        { "050104000000010001FF", "version is 1" },
        { "030217000000010001FF", "hash is 23" },
        { "030204000000010002FF", "2 bytes and has 1" },
        { "030204000000010001FFFF", "1 bytes and has 2" },
        { "030204000000010000FF", "0 bytes and has 1" },
        { "0301000000000000FF", "18 at least" },
        { "03010000000001000102030405060708010008FF", "algorithm is 1" },
        { "03010000000000020102030405060708010008FF", "hash is 2" },
        { "03010000000000000102030405060708020008FF", "2 numbers" },
        { "03010000000000000102030405060708010009FF", "9 bits and has 1" },
    };

    [Theory]
    [MemberData(nameof(Malformed))]
    public static void What_is_no_signature_is_refused_in_words(string hex, string why)
    {
        Assert.False(ImaSignature.TryParse(Convert.FromHexString(hex), out var signature, out var error));
        Assert.Null(signature);
        Assert.Contains(why, error);
    }

    [Fact]
    public static void Any_bytes_give_a_signature_or_a_reason()
    {
        var keys = FileKeys.Set(FileKeys.Read(FileKeys.Rsa), FileKeys.Read(FileKeys.P256));
        Gen.Byte.Array[0, 64].Select(Gen.Byte[3, 6], Gen.Byte[1, 3]).Sample((rest, type, version) =>
        {
            byte[] bytes = [type, version, .. rest];
            if (!ImaSignature.TryParse(bytes, out var signature, out var error))
                Assert.NotEmpty(error);
            else
                Assert.IsNotType<SignatureResult.Verified>(keys.Verify(signature, new byte[signature.Hash.Size()], Encoding.ASCII.GetBytes(signature.Hash.Name()), type == 6));
        });
    }

    [Fact]
    public static void A_signature_cut_off_anywhere_is_none()
    {
        foreach (var bytes in (byte[][])[FileKeys.Sign(FileKeys.P256, KernelHash.Sha256, Content), FileKeys.SignFirst(FileKeys.Rsa, Content, sha256: true)])
        {
            for (var length = 0; length < bytes.Length; length++)
                Assert.False(ImaSignature.TryParse(bytes.AsSpan(0, length), out _, out _));
            Assert.False(ImaSignature.TryParse([.. bytes, 0], out _, out _));
        }
    }

    [Fact]
    public static void Hashes_have_the_names_and_sizes_of_the_kernel()
    {
        foreach (var hash in Enum.GetValues<KernelHash>())
        {
            Assert.True(KernelHashes.TryFromName(Encoding.ASCII.GetBytes(hash.Name()), out var found));
            Assert.Equal(hash, found);
            if (hash.RuntimeName() is { } name)
                Assert.Equal(hash.Size(), CryptographicOperations.HashData(name, []).Length);
        }

        Assert.True(KernelHashes.TryFromName("sm3-256"u8, out var sm3));
        Assert.Equal(KernelHash.Sm3, sm3);
        Assert.False(KernelHashes.TryFromName("SHA256"u8, out _));
        Assert.False(KernelHashes.TryFromName(""u8, out _));
    }

    private static AsymmetricAlgorithm Key(string name) => name switch { "rsa" => FileKeys.Rsa, "p256" => FileKeys.P256, "p384" => FileKeys.P384, _ => FileKeys.P521 };

    private static byte[] Bytes(uint id) => [(byte)(id >> 24), (byte)(id >> 16 & 0xFF), (byte)(id >> 8 & 0xFF), (byte)(id & 0xFF)];

    private static SignatureResult Verify(KeyringSet keys, byte[] bytes, byte[] digest, string algorithm = "sha256", bool verity = false)
    {
        Assert.True(ImaSignature.TryParse(bytes, out var signature, out var error), error);
        return keys.Verify(signature, digest, Encoding.ASCII.GetBytes(algorithm), verity);
    }
}
