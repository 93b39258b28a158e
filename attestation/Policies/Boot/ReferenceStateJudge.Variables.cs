using System.Collections.Immutable;
using static Keylime.Attestation.BootWords;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <content>PCR 7: Secure Boot's variables, and which of their entries let an image run.</content>
internal sealed partial class ReferenceStateJudge
{
    private static readonly Guid[] Certificates = [EfiGuids.X509];
    private static readonly Guid[] CertificatesAndHashes = [EfiGuids.X509, EfiGuids.Sha256];

    private void JudgeConfiguration(in BootFact e)
    {
        // Not the type: the GUID, the name and the value have to be what was hashed, and before the separator.
        if (e.ProvenVariable is not { } variable)
        {
            Refuse(e, $"the data of {Story(e)} are not what was measured", "data that hash to the digest");
            return;
        }

        if (_landmarks.IsSeparated(7))
        {
            findings.Add(BootSeparator, e, $"the variable {Printable(variable.Name)} was measured behind the separator: the separator came early", "before the separator", "behind it");
            return;
        }

        switch (variable.Vendor, variable.Name)
        {
            case var (vendor, name) when vendor == EfiGuids.GlobalVariable && name == "SecureBoot":
                JudgeSecureBoot(e, variable);
                break;
            case var (vendor, name) when vendor == EfiGuids.GlobalVariable && name == "PK":
                JudgeSubset(e, variable, state.PlatformKeys, Certificates);
                break;
            case var (vendor, name) when vendor == EfiGuids.GlobalVariable && name == "KEK":
                JudgeSubset(e, variable, state.ExchangeKeys, Certificates);
                break;
            case var (vendor, name) when vendor == EfiGuids.ImageSecurityDatabase && name == "db":
                JudgeSubset(e, variable, state.Allowed, CertificatesAndHashes);
                break;
            case var (vendor, name) when vendor == EfiGuids.ImageSecurityDatabase && name == "vendor_db":
                JudgeSubset(e, variable, state.Vendor, CertificatesAndHashes);
                break;
            case var (vendor, name) when vendor == EfiGuids.ImageSecurityDatabase && name == "dbx":
                JudgeSuperset(e, variable);
                break;
            default:
                Refuse(e, $"a reference state has no rule for variable {Printable(variable.Name)}", "SecureBoot, PK, KEK, db, dbx or vendor_db");
                break;
        }
    }

    private void JudgeSecureBoot(in BootFact e, BootEventData.EfiVariable variable)
    {
        _times["SecureBoot"] = 1;
        var enabled = variable.Value.Span is [not 0];
        if (variable.Value.Length != 1 || enabled != state.SecureBoot)
            findings.Add(BootSecureBootOff, e, $"Secure Boot is {(enabled ? "on" : "off")}, and the reference state wants it {(state.SecureBoot ? "on" : "off")}", state.SecureBoot ? "on" : "off", enabled ? "on" : "off");
    }

    // Every entry is of a type that may be there, and in the reference state.
    private void JudgeSubset(in BootFact e, BootEventData.EfiVariable variable, ImmutableHashSet<string> allowed, Guid[] types)
    {
        if (!TakeDatabase(e, variable, allowed, out var database))
            return;
        if (variable.Value.IsEmpty)
            findings.Add(BootDatabaseNotAllowed, e, $"the {variable.Name} is empty", "entries of the reference state", "none");
        foreach (var list in database.Lists)
        {
            if (!types.Contains(list.Type))
                findings.Add(BootDatabaseNotAllowed, e, $"the {variable.Name} has a list of type {list.Type}", string.Join(" or ", types), $"{list.Type}");
            else if (list.Signatures.FirstOrDefault(s => !allowed.Contains(ReferenceState.Entry(s.Owner, s.Data.Span))) is { Data.IsEmpty: false } entry)
                findings.Add(BootDatabaseNotAllowed, e, $"the {variable.Name} has an entry that is not in the reference state, {EfiSignatureKey.Of(list.Type, entry.Data.Span)}", "entries of the reference state", EfiSignatureKey.Of(list.Type, entry.Data.Span));
        }
    }

    // One list, of SHA-256 hashes, with all that the reference state forbids, and any besides.
    private void JudgeSuperset(in BootFact e, BootEventData.EfiVariable variable)
    {
        if (!TakeDatabase(e, variable, state.Forbidden, out var database))
            return;
        if (database.Lists is not [{ } list] || list.Type != EfiGuids.Sha256)
        {
            findings.Add(BootDatabaseNotAllowed, e, $"the dbx has {database.Lists.Length} lists of whatever type", "one list of SHA-256 hashes", $"{database.Lists.Length} lists");
            return;
        }

        var missing = state.Forbidden.Except(list.Signatures.Select(static s => ReferenceState.Entry(s.Owner, s.Data.Span)));
        if (missing.Count > 0)
            findings.Add(BootDatabaseNotAllowed, e, $"the dbx lacks {missing.Count} of the {state.Forbidden.Count} entries of the reference state, one is {missing.Min()}", $"{state.Forbidden.Count} entries", $"{state.Forbidden.Count - missing.Count} of them");
    }

    private bool TakeDatabase(in BootFact e, BootEventData.EfiVariable variable, ImmutableHashSet<string> reference, out EfiVariableContent.SignatureDatabase database)
    {
        Once(e, variable.Name, 1);
        var read = BootDatabases.Read(variable, out var reason);
        if (read is null)
            findings.Add(BootSignatureListMalformed, e, $"the signature lists of {variable.Name} cannot be read: {reason}", "EFI_SIGNATURE_LISTs", reason);
        database = read ?? new EfiVariableContent.SignatureDatabase([]);
        return read is not null && (state.SecureBoot || reference.Count > 0); // with Secure Boot off, an empty list means any
    }

    private void JudgeAuthority(in BootFact e)
    {
        if (e.ProvenVariable is not { } variable)
        {
            Refuse(e, $"the data of {Story(e)} are not what was measured", "data that hash to the digest");
            return;
        }

        // A database relabelled as an authority would escape its rule; what was measured before the separator is configuration.
        if (!_landmarks.IsSeparated(7))
        {
            findings.Add(BootSeparator, e, $"the variable {Printable(variable.Name)} is called an authority, and was measured before the separator, where only the configuration is", "behind the separator", "before it");
            return;
        }

        Once(e, $"authority {variable.Name}", 1);
        var known = variable.Vendor == EfiGuids.ImageSecurityDatabase ? variable.Name is "db" or "vendor_db"
            : variable.Vendor == EfiGuids.ShimLock && variable.Name is "SbatLevel" or "Shim" or "MokListTrusted" or "MokListRT";
        if (!known)
            Refuse(e, $"a reference state has no rule for authority {Printable(variable.Name)}", "db, vendor_db, SbatLevel, Shim, MokListTrusted or MokListRT");
        else if (variable.Name == "vendor_db" && (state.SecureBoot || state.Vendor.Count > 0))
            JudgeVendor(e, variable);
        else if (variable.Name == "MokListTrusted" && variable.Value.Length != 1)
            Refuse(e, $"MokListTrusted has {variable.Value.Length} bytes", "one byte");
    }

    private void JudgeVendor(in BootFact e, BootEventData.EfiVariable variable)
    {
        var entry = BootDatabases.ReadAuthority(variable);
        if (entry is not { } one || !state.Vendor.Contains(ReferenceState.Entry(one.Owner, one.Data.Span)))
            findings.Add(BootDatabaseNotAllowed, e, "the entry of vendor_db that let an image run is not in the reference state", "entries of the reference state", BootDigestSet.Text(bank, e.Digest));
    }

    // Upstream is content with a log that does not speak of Secure Boot at all; emptiness never means trust.
    private void CloseVariables()
    {
        string[] wanted = state.SecureBoot ? ["SecureBoot", "PK", "KEK", "db", "dbx"] : ["SecureBoot"];
        foreach (var name in wanted)
        {
            if (!_times.ContainsKey(name))
                findings.AddMissing(BootEventMissing, 7, $"the variable {name} was not measured", $"the variable {name}");
        }
    }
}
