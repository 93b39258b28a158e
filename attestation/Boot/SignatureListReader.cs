using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>EFI_SIGNATURE_LISTs, one behind the other, to the last byte (UEFI 2.10, 32.4.1).</summary>
/// <remarks>
/// A list says its own size three times over: of itself, of a header, of an entry. All must agree, or bytes of one entry are read as another's
/// (GHSA-9r4w-jg96-92mv: a header that was not skipped put hashes of an attacker's choice into the list).
/// </remarks>
internal static class SignatureListReader
{
    private const int HeaderSize = 16 + 3 * sizeof(uint);
    private const int OwnerSize = 16;

    public static EfiVariableContent.SignatureDatabase Read(ReadOnlyMemory<byte> value)
    {
        var lists = ImmutableArray.CreateBuilder<EfiSignatureList>();
        var reader = new BootReader(value);
        while (!reader.AtEnd)
            lists.Add(ReadList(ref reader));
        return new EfiVariableContent.SignatureDatabase(lists.DrainToImmutable());
    }

    private static EfiSignatureList ReadList(ref BootReader reader)
    {
        var at = reader.Position;
        var type = reader.ReadGuid();
        var (listSize, headerSize, entrySize) = (reader.ReadUInt32(), reader.ReadUInt32(), reader.ReadUInt32());
        if (listSize < HeaderSize)
            BootReader.Throw($"a signature list of {listSize} bytes, {HeaderSize} at least,", at);

        var list = reader.ReadPart(listSize - HeaderSize);
        var dataSize = DataSize(type);
        if (headerSize > (uint)list.Left || (dataSize is not null && headerSize != 0)) // no type that is known has a header
            BootReader.Throw($"a signature header of {headerSize} bytes", at + 20);
        _ = list.ReadBytes(headerSize);

        if (entrySize <= OwnerSize || dataSize is > 0 && entrySize != OwnerSize + dataSize)
            BootReader.Throw($"signatures of {entrySize} bytes, {OwnerSize + (dataSize is > 0 ? dataSize : 1)} {(dataSize is > 0 ? "each" : "at least")},", at + 24);
        if (list.AtEnd || (uint)list.Left % entrySize != 0)
            BootReader.Throw($"{list.Left} bytes of signatures of {entrySize} bytes each", at + HeaderSize);

        var signatures = ImmutableArray.CreateBuilder<EfiSignature>((int)((uint)list.Left / entrySize));
        while (!list.AtEnd)
            signatures.Add(new EfiSignature(list.ReadGuid(), list.ReadBytes(entrySize - OwnerSize)));
        return new EfiSignatureList(type, signatures.MoveToImmutable());
    }

    // What an entry's data have in bytes; 0 for a certificate, which has any size; null for a type that is not known.
    private static uint? DataSize(Guid type) =>
        type == EfiGuids.X509 ? 0
        : type == EfiGuids.Sha256 ? 32
        : type == EfiGuids.Sha1 ? 20
        : type == EfiGuids.Sha384 ? 48
        : type == EfiGuids.Sha512 ? 64
        : type == EfiGuids.Rsa2048 ? 256
        : type == EfiGuids.X509Sha256 ? 32 + 16 // and an EFI_TIME
        : type == EfiGuids.X509Sha384 ? 48 + 16
        : type == EfiGuids.X509Sha512 ? 64 + 16
        : null;
}
