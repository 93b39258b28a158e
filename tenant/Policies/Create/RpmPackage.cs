using System.Security.Cryptography;

namespace Keylime.Tenant;

/// <summary>What the headers of an .rpm file say; the payload is not read.</summary>
/// <param name="Version">Epoch, version and release, as rpm writes them.</param>
/// <param name="Files">Regular files, each with its digest in lower-case hex.</param>
/// <param name="Signatures">How many of the files have an IMA signature.</param>
internal sealed record RpmPackage(string Name, string Version, string Architecture, IReadOnlyList<(string Path, string Digest)> Files, int Signatures)
{
    private const int LeadLength = 96;
    private const int GhostFlag = 64; // RPMFILE_GHOST: the package names it and does not bring it

    // rpm: rpmtag.h
    private const int FileSignatures = 274, HeaderSha256 = 273;
    private const int NameTag = 1000, VersionTag = 1001, ReleaseTag = 1002, EpochTag = 1003, ArchitectureTag = 1022;
    private const int Modes = 1030, Digests = 1035, Flags = 1037, DirectoryIndexes = 1116, BaseNames = 1117, DirectoryNames = 1118;

    /// <exception cref="InvalidDataException">It is no .rpm file, or its header is not what its own checksum says.</exception>
    public static RpmPackage Read(Stream stream)
    {
        var lead = new byte[LeadLength];
        RpmHeader.Fill(stream, lead);
        if (lead is not [0xED, 0xAB, 0xEE, 0xDB, ..])
            throw new InvalidDataException("the magic number of an .rpm file is expected");
        var signature = RpmHeader.Read(stream);
        RpmHeader.Fill(stream, new byte[(8 - signature.Bytes.Length % 8) % 8]);
        var header = RpmHeader.Read(stream);
        if (signature.Text(HeaderSha256) is { } expected && expected != Convert.ToHexStringLower(SHA256.HashData(header.Bytes.Span)))
            throw new InvalidDataException("its header is not what its own checksum says: the file is damaged");

        var version = $"{header.Text(VersionTag)}-{header.Text(ReleaseTag)}";
        if (header.Numbers(EpochTag) is [var epoch, ..])
            version = $"{epoch}:{version}";
        return new RpmPackage(
            header.Text(NameTag) ?? throw new InvalidDataException("its header has no name"), version, header.Text(ArchitectureTag) ?? "", [.. FilesOf(header)],
            (signature.Has(FileSignatures) ? signature : header).Texts(FileSignatures).Count(static s => s.Length > 0));
    }

    private static IEnumerable<(string Path, string Digest)> FilesOf(RpmHeader header)
    {
        var (names, folders, indexes) = (header.Texts(BaseNames), header.Texts(DirectoryNames), header.Numbers(DirectoryIndexes));
        var (digests, modes, flags) = (header.Texts(Digests), header.Numbers(Modes), header.Numbers(Flags));
        if (indexes.Length != names.Length || digests.Length != names.Length || modes.Length != names.Length || flags.Length != names.Length && flags.Length > 0)
            throw new InvalidDataException($"its header has {names.Length} files, and other numbers of digests, modes or folders");
        for (var i = 0; i < names.Length; i++)
        {
            if (indexes[i] < 0 || indexes[i] >= folders.Length)
                throw new InvalidDataException($"file {i} is in folder {indexes[i]} of {folders.Length}");
            if ((modes[i] & 0xF000) == 0x8000 && digests[i].Length > 0 && (flags.Length == 0 || (flags[i] & GhostFlag) == 0))
                yield return (folders[indexes[i]] + names[i], digests[i]);
        }
    }
}
