using System.Security.Cryptography;
using Keylime.Tpm;
using static Keylime.Attestation.BootWords;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <content>
/// Secure Boot. In PCR 7 the configuration is before the separator, and the entries that let images run are behind it (PFP 1.06, 3.3.4.8). Both
/// are variables of the same form, and the types that tell them apart are not measured; their places are.
/// </content>
internal sealed partial class EventRulesJudge
{
    private readonly HashSet<string> _seenVariables = [];
    private readonly HashSet<VariableRule> _matchedVariables = [];
    private readonly HashSet<DatabaseRule> _matchedMok = [];
    private readonly HashSet<string> _listed = []; // hashes of the entries' data in db, as it was measured

    private void JudgeVariable(in BootFact e)
    {
        if (e.ProvenVariable is not { } variable)
        {
            if (e.UntrustedData is BootEventData.EfiVariable)
                Refuse(BootEventNotAllowed, e, $"the data of {Story(e)} are not what was measured", "data that hash to the digest");
            else
                Unknown(e);
            return;
        }

        var known = DatabaseRule.Known.FirstOrDefault(k => k.Vendor == variable.Vendor && k.Name == variable.Name);
        var isSecureBoot = variable.Vendor == EfiGuids.GlobalVariable && variable.Name == "SecureBoot";
        if (_landmarks.IsSeparated(7))
            JudgeAuthority(e, variable, isConfiguration: isSecureBoot || known.Name is not (null or "db" or "vendor_db"));
        else if (isSecureBoot)
            JudgeSecureBoot(e, variable);
        else if (known.Name is not null)
            JudgeDatabase(e, variable);
        else if (!TakeVariable(e))
            Unknown(e);
    }

    private void JudgeSecureBoot(in BootFact e, BootEventData.EfiVariable variable)
    {
        Once(e, variable.Name);
        bool? enabled = variable.Value.Span switch
        {
            [1] => true,
            [] or [0] => false, // a variable that is not there is measured with no value
            _ => null,
        };
        if (_rules.SecureBoot is null)
            Unknown(e);
        else if (enabled is null)
            Refuse(BootSecureBootOff, e, $"SecureBoot has the value {Convert.ToHexStringLower(variable.Value.Span)}", "00 or 01");
        else if (_rules.SecureBoot == SecureBootRule.On && enabled == false)
            _findings.Add(BootSecureBootOff, e, "Secure Boot is off", "on", "off");
        else if (_rules.SecureBoot == SecureBootRule.Off && enabled == true)
            _findings.Add(BootSecureBootOff, e, "Secure Boot is on, and the policy is for machines that have it off", "off", "on");
    }

    private void JudgeDatabase(in BootFact e, BootEventData.EfiVariable variable)
    {
        Once(e, variable.Name);
        var database = BootDatabases.Read(variable, out var reason);
        if (database is null)
        {
            Refuse(BootSignatureListMalformed, e, $"the signature lists of {variable.Name} cannot be read: {reason}", "EFI_SIGNATURE_LISTs");
            return;
        }

        if (variable.Name == "db")
            _listed.UnionWith(database.Signatures.Select(static s => DataKey(s.Data.Span)));
        if (_rules.Databases.FirstOrDefault(d => d.Name == variable.Name) is { } rule)
        {
            if (rule.Judge(e, database, _bank) is { } miss)
                _findings.Add(miss);
        }
        else if (!TakeVariable(e))
        {
            Unknown(e);
        }
    }

    private void JudgeAuthority(in BootFact e, BootEventData.EfiVariable variable, bool isConfiguration)
    {
        if (isConfiguration)
        {
            Refuse(BootSeparator, e, $"the variable {Printable(variable.Name)} was measured behind the separator: the separator came early", "before the separator");
            return;
        }

        if (TakeVariable(e))
            return;

        var entry = variable.Vendor == EfiGuids.ImageSecurityDatabase ? BootDatabases.ReadAuthority(variable) : null;
        var isListed = entry is { } one && (variable.Name == "db"
            ? _listed.Contains(DataKey(one.Data.Span)) // in db as this very log proves it, and db has its own rule
            : _rules.Databases.FirstOrDefault(d => d.Name == variable.Name)?.AtMost?.ContainsKey(EfiSignatureKey.Of(EfiGuids.X509, one.Data.Span)) == true);
        if (!isListed && variable is { Name: "db" or "vendor_db" } && entry is not null)
            Refuse(BootDatabaseNotAllowed, e, $"an image ran because of an entry of {variable.Name} that {(variable.Name == "db" ? "db does not have" : "the policy does not list")}", "an entry of the database");
        else if (!isListed)
            Unknown(e);
    }

    // GUID, name and value are what was hashed, so the value's own SHA-256 may stand for it, whatever bank the quote is of.
    private bool TakeVariable(in BootFact e)
    {
        if (e.ProvenVariable is not { } variable)
            return false;
        var digest = SHA256.HashData(variable.Value.Span);
        foreach (var rule in _rules.Variables)
        {
            if (rule.Pcr != e.Pcr || rule.Vendor != variable.Vendor || rule.Name != variable.Name)
                continue;
            _matchedVariables.Add(rule);
            if (!rule.Values.Allows(TpmAlgorithm.Sha256, digest))
                Refuse(BootEventNotAllowed, e, $"the variable {Printable(variable.Name)} has a value that is not in the policy; the value's SHA-256 is {Convert.ToHexStringLower(digest)}", rule.Values.Describe(TpmAlgorithm.Sha256));
            return true;
        }

        return false;
    }

    // PCR 14: shim measures its lists by their contents, which the log does not have, and calls them by name, which is not measured. So a
    // digest counts for all lists that the policy has it for (two empty lists have one digest).
    private void JudgeMok(in BootFact e)
    {
        var (digest, name) = (e.Digest, e.UntrustedData is BootEventData.Ipl ipl ? ipl.Text : "");
        var rules = _rules.Databases.Where(static d => d.IsMok).ToArray();
        var matched = Array.FindAll(rules, r => r.Digests?.Allows(_bank, digest) == true);
        _matchedMok.UnionWith(matched);
        if (matched.Length > 0)
            return;
        if (Array.Find(rules, r => r.Name == name) is { } meant)
        {
            _matchedMok.Add(meant);
            _findings.Add(meant.JudgeDigest(e, meant.Digests ?? new BootDigestSet(), _bank)!);
        }
        else
        {
            JudgeOther(e);
        }
    }

    private void CloseVariables()
    {
        if (_rules.SecureBoot is not null && !_seenVariables.Contains("SecureBoot"))
            _findings.AddMissing(BootEventMissing, 7, "the variable SecureBoot was not measured", "the variable SecureBoot");
        foreach (var rule in _rules.Databases)
        {
            // The entries of vendor_db are measured when one of them is used, so there may be none.
            var seen = rule.IsMok ? _matchedMok.Contains(rule) : rule.Name == "vendor_db" || _seenVariables.Contains(rule.Name);
            if (!seen)
                _findings.AddMissing(BootEventMissing, rule.Pcr, $"the {rule.Name} was not measured", $"the {rule.Name}");
        }

        foreach (var rule in _rules.Variables.Where(r => r.Required && !_matchedVariables.Contains(r)))
            _findings.AddMissing(BootEventMissing, rule.Pcr, $"the variable {rule.Name} was not measured", $"the variable {rule.Name}");
    }

    private void Once(in BootFact e, string name)
    {
        if (!_seenVariables.Add(name))
            Refuse(BootEventNotAllowed, e, $"the variable {name} was measured a second time", "once");
    }

    private static string DataKey(ReadOnlySpan<byte> data) => Convert.ToHexStringLower(SHA256.HashData(data));
}
