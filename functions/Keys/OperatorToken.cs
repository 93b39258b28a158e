using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Keys;

/// <summary>The operator's bearer token: made at the first start, kept in a file that nobody else may read.</summary>
internal sealed class OperatorToken
{
    private const int Bytes = 32;
    private const int MinLength = 32;

    private readonly byte[] _hash;

    /// <exception cref="InvalidDataException">The token is so short that it can be guessed.</exception>
    public OperatorToken(string token)
    {
        if (token.Length < MinLength)
            throw new InvalidDataException($"The operator's token has {token.Length} characters: {MinLength} at least are expected.");
        _hash = Hash(token);
    }

    /// <summary>Reads the token's file, or makes it.</summary>
    public static OperatorToken LoadOrCreate(string path)
    {
        if (!File.Exists(path))
            PrivateFiles.Write(path, Encoding.ASCII.GetBytes(Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(Bytes)) + "\n"));
        return new OperatorToken(File.ReadAllText(path).Trim());
    }

    public bool Matches(string? token) => token is not null && CryptographicOperations.FixedTimeEquals(Hash(token), _hash);

    private static byte[] Hash(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));
}
