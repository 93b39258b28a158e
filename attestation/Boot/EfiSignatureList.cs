using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>EFI_SIGNATURE_LIST (UEFI 2.10, 32.4.1): entries of one type.</summary>
/// <param name="Type">How the entries' data are to be read: see <see cref="EfiGuids"/>.</param>
public sealed record EfiSignatureList(Guid Type, ImmutableArray<EfiSignature> Signatures);

/// <summary>EFI_SIGNATURE_DATA.</summary>
/// <param name="Owner">Who put it in.</param>
/// <param name="Data">A DER certificate, a digest, a key: as the list's type says.</param>
public readonly record struct EfiSignature(Guid Owner, ReadOnlyMemory<byte> Data);
