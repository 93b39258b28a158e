using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Keylime.Attestation;

/// <summary>Names, values and what is between them.</summary>
internal ref partial struct DeviceMapperReader
{
    private string ReadKey()
    {
        var length = KeyLength(_rest);
        if (length == 0)
            Throw("an attribute's name and = are expected");
        var key = Encoding.ASCII.GetString(_rest[..length]);
        _rest = _rest[(length + 1)..];
        return key;
    }

    // Up to the semicolon, or the comma that a name and = follow.
    private string ReadValue()
    {
        var length = 0;
        while (length < _rest.Length && _rest[length] != ';' && !(_rest[length] == ',' && KeyLength(_rest[(length + 1)..]) > 0))
            length++;
        return Text(length);
    }

    // Of a device: up to the comma or semicolon that no backslash escapes.
    private string ReadName(string key)
    {
        Expect(key);
        var name = new List<byte>();
        while (!_rest.IsEmpty && _rest[0] is not ((byte)',' or (byte)';'))
        {
            var escaped = _rest[0] == '\\';
            if (escaped && (_rest.Length < 2 || !"\\,;="u8.Contains(_rest[1])))
                Throw("a backslash that escapes nothing");
            if (_rest[0] == '=' || name.Count == DeviceMapperState.MaxText)
                Throw(_rest[0] == '=' ? "an = that is not escaped" : $"a name of more than {DeviceMapperState.MaxText} bytes");
            name.Add(_rest[escaped ? 1 : 0]);
            _rest = _rest[(escaped ? 2 : 1)..];
        }

        return Decode(name.ToArray());
    }

    private string ReadHash(string key)
    {
        Expect(key);
        var length = _rest.IndexOfAny((byte)';', (byte)',');
        var hash = Text(length < 0 ? _rest.Length : length);
        if (!hash.Contains(':', StringComparison.Ordinal))
            Throw("a hash with its algorithm in front is expected");
        return hash;
    }

    private void ReadHashAndComma(string key)
    {
        _ = ReadHash(key);
        Comma();
    }

    private string ReadVersion(string key)
    {
        Expect(key);
        var version = ReadNumber();
        for (var part = 0; part < 2; part++)
        {
            Expect(".");
            version += "." + ReadNumber();
        }

        return version;
    }

    private string ReadNumber()
    {
        var length = _rest.IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        length = length < 0 ? _rest.Length : length;
        if (length is 0 or > 20)
            Throw("a number is expected");
        return Text(length);
    }

    private void ReadCapacity()
    {
        Expect("current_device_capacity=");
        _ = ReadNumber();
        EndGroup();
    }

    private string Text(int length)
    {
        if (length > MaxValue)
            Throw($"a value of {length} bytes, {MaxValue} at most,");
        var text = Decode(_rest[..length]);
        _rest = _rest[length..];
        return text;
    }

    private readonly string Decode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.ContainsAnyInRange((byte)0, (byte)0x1F) || !System.Text.Unicode.Utf8.IsValid(bytes))
            Throw("a value with control characters, or that is no UTF-8");
        return Encoding.UTF8.GetString(bytes);
    }

    private void Comma() => Expect(",");

    private void EndGroup()
    {
        Expect(";");
        _rest = _rest.TrimStart((byte)0);
    }

    private bool Skip(string text)
    {
        if (!_rest.StartsWith(Encoding.ASCII.GetBytes(text)))
            return false;
        _rest = _rest[text.Length..];
        return true;
    }

    private void Expect(string text)
    {
        if (!Skip(text))
            Throw($"'{text}' is expected");
    }

    private static int KeyLength(ReadOnlySpan<byte> text)
    {
        var length = text.IndexOf((byte)'=');
        if (length is <= 0 or > 64)
            return 0;
        foreach (var c in text[..length])
        {
            if (!char.IsAsciiLetterOrDigit((char)c) && c != '_')
                return 0;
        }

        return length;
    }

    [DoesNotReturn]
    private readonly void Throw(string what) => throw new FormatException($"{what} at byte {_end - _rest.Length}");
}
