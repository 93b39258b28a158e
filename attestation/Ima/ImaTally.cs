namespace Keylime.Attestation;

/// <summary>How many lines each kind of rule accepted.</summary>
/// <param name="Digests">Their digest is listed for their path.</param>
/// <param name="Signatures">They are signed with a key that the policy trusts.</param>
/// <param name="Excluded">Their path is excluded: nobody judged them.</param>
/// <param name="ClassRules">A named class rule speaks for them.</param>
/// <param name="Keys">Keys loaded to a keyring, or of a keyring that is ignored.</param>
/// <param name="Buffers">Other measured buffers.</param>
/// <param name="Devices">Events of the device mapper.</param>
/// <param name="Violations">Violations that were tolerated.</param>
public readonly record struct ImaTally(
    long Digests, long Signatures, long Excluded, long ClassRules, long Keys, long Buffers, long Devices, long Violations);
