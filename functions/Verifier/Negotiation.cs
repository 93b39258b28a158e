using System.Globalization;
using Keylime.Functions.Storage;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Functions.Verifier;

/// <summary>What can be asked of an agent, by what it says it can do and by what its node's policies need (keylime-wire 2B.1, 2B.2).</summary>
internal sealed class Negotiation
{
    private const string Supported = "/data/attributes/evidence_supported";
    private const int MaxItems = 32;

    private readonly List<ErrorObject> _errors = [];

    private Negotiation()
    {
    }

    public TpmAlgorithm Bank { get; private set; }

    public DateTimeOffset BootTime { get; private set; }

    /// <summary><see langword="null"/> where no measurement list is needed.</summary>
    public OpenImaLog? Ima { get; private set; }

    /// <summary>Whether the boot log is needed.</summary>
    public bool BootLog { get; private set; }

    /// <summary>The boot that need not be proven again; <see langword="null"/> where the log is needed, or no boot policy judges.</summary>
    public NodeBoot? Boot { get; private set; }

    /// <summary>Everything that stands against it; empty where it can go on.</summary>
    public IReadOnlyList<ErrorObject> Errors => _errors;

    /// <param name="start">The lines of the measurement list that need not be judged again.</param>
    /// <param name="pcrs">The PCRs that the node's policies need.</param>
    /// <param name="judges">The policies that will judge: what others judged is wanted again.</param>
    public static Negotiation Of(Node node, NodeCheckpoint? start, PublicArea key, PcrSet pcrs, PinnedPolicies judges, AttestationAttributes offered)
    {
        var negotiation = new Negotiation();
        if (offered.EvidenceSupported is not { Count: > 0 and <= MaxItems } items)
        {
            negotiation.Object("", $"must be an array of 1 to {MaxItems} items");
            return negotiation;
        }

        if (offered.SystemInfo?.BootTime is { } bootTime)
            negotiation.BootTime = bootTime.ToUniversalTime();
        else
            negotiation._errors.Add(Error("/data/attributes/system_info/boot_time", "is required"));

        negotiation.ChooseQuote(key, pcrs, items);
        if (node.RuntimePolicy is not null)
            negotiation.ChooseImaLog(start, judges.Runtime, items);
        if (node.BootPolicy is not null)
            negotiation.ChooseBootLog(node.Boot, judges.Boot, items);
        return negotiation;
    }

    private void ChooseQuote(PublicArea key, PcrSet pcrs, IReadOnlyList<EvidenceItem> items)
    {
        if (Find(items, EvidenceItem.Certification, EvidenceItem.TpmQuote) is not var (item, at))
        {
            Object("", "must contain a certification item of type 'tpm_quote' per agent policy");
            return;
        }

        var can = item.Capabilities;
        if (can?.ComponentVersion != "2.0")
            Object($"/{at}/capabilities/component_version", "must be '2.0'");
        if (!Offers(can?.SignatureSchemes, key.Scheme.Algorithm))
            Object($"/{at}/capabilities/signature_schemes", $"must contain '{key.Scheme.Algorithm.ProtocolName()}', which the enrolled attestation key signs with");
        if (!Offers(can?.HashAlgorithms, key.Scheme.Hash))
            Object($"/{at}/capabilities/hash_algorithms", $"must contain '{key.Scheme.Hash.ProtocolName()}', which the enrolled attestation key signs with");
        if (can?.CertificationKeys?.Any(k => Fits(k, key)) != true)
            Object($"/{at}/capabilities/certification_keys", "must contain the enrolled attestation key, with its own scheme and hash");

        // Upstream's agent quotes the bank of the key's hash and no other, so that one comes first.
        TpmAlgorithm[] wanted = [key.Scheme.Hash, TpmAlgorithm.Sha512, TpmAlgorithm.Sha384, TpmAlgorithm.Sha256];
        Bank = wanted.FirstOrDefault(bank => OffersPcrs(can?.AvailableSubjects, bank, pcrs), TpmAlgorithm.Null);
        if (Bank == TpmAlgorithm.Null)
            Object($"/{at}/capabilities/available_subjects", $"must have a bank of SHA-256 or better with PCRs {pcrs}");
    }

    private void ChooseImaLog(NodeCheckpoint? checkpoint, string? policyDigest, IReadOnlyList<EvidenceItem> items)
    {
        if (Find(items, EvidenceItem.Log, EvidenceItem.ImaLog) is not var (item, at))
        {
            Object("", "must contain a log item of type 'ima_log' per agent policy");
            return;
        }

        var formats = item.Capabilities?.Formats;
        var gzip = formats?.Contains(ChosenParameters.Gzip) == true;
        var raw = gzip || formats?.Contains(ChosenParameters.OctetStream) == true;
        if (!raw && formats?.Contains(ChosenParameters.PlainText) != true)
            Object($"/{at}/capabilities/formats", "must contain 'text/plain', 'application/octet-stream' or 'application/gzip'");

        var partial = item.Capabilities?.SupportsPartialAccess == true;
        var count = item.Capabilities?.EntryCount;
        if (count < 0 || count is null && partial)
            Object($"/{at}/capabilities/entry_count", "must be a number from 0, where partial access is supported");

        var same = checkpoint is not null && partial && count >= checkpoint.Entries && SameBoot(checkpoint.BootTime)
            && checkpoint.Bank == Bank && checkpoint.PolicyDigest == policyDigest;
        Ima = new OpenImaLog(same ? checkpoint : null, raw) { Gzip = gzip };
    }

    private void ChooseBootLog(NodeBoot? proven, string? policyDigest, IReadOnlyList<EvidenceItem> items)
    {
        if (proven is not null && SameBoot(proven.BootTime) && proven.Bank == Bank && proven.PolicyDigest == policyDigest)
        {
            Boot = proven;
            return;
        }

        if (Find(items, EvidenceItem.Log, EvidenceItem.UefiLog) is not var (item, at))
            Object("", "must contain a log item of type 'uefi_log' per agent policy");
        else if (item.Capabilities?.Formats?.Contains(ChosenParameters.OctetStream) != true)
            Object($"/{at}/capabilities/formats", "must contain 'application/octet-stream'");
        BootLog = true;
    }

    // boot_time is a hint, and jumps a little with the machine's clock; the quote's resetCount decides in the end.
    private bool SameBoot(DateTimeOffset bootTime) => (bootTime - BootTime).Duration() <= TimeSpan.FromSeconds(2);

    private static (EvidenceItem Item, int At)? Find(IReadOnlyList<EvidenceItem> items, string evidenceClass, string type)
    {
        for (var i = 0; i < items.Count; i++)
        {
            if (items[i] is { } item // JSON may have null in a list of anything
                && item.EvidenceClass.Equals(evidenceClass, StringComparison.OrdinalIgnoreCase)
                && item.EvidenceType.Equals(type, StringComparison.OrdinalIgnoreCase))
                return (item, i);
        }

        return null;
    }

    private static bool Offers(IReadOnlyList<string>? names, TpmAlgorithm algorithm) =>
        names?.Contains(algorithm.ProtocolName(), StringComparer.OrdinalIgnoreCase) == true;

    private static bool OffersPcrs(IReadOnlyDictionary<string, IReadOnlyList<int>?>? banks, TpmAlgorithm bank, PcrSet pcrs) =>
        banks?.FirstOrDefault(b => b.Key.Equals(bank.ProtocolName(), StringComparison.OrdinalIgnoreCase)).Value is { } offered
        && pcrs.All(offered.Contains);

    // The key that will sign is the pinned one, whatever is offered; an offer of other keys only cannot work out.
    private static bool Fits(CertificationKey? offered, PublicArea key) =>
        offered?.KeyAlgorithm?.Equals(key.Type.ProtocolName(), StringComparison.OrdinalIgnoreCase) == true
        && (offered.AllowableSignatureSchemes is null || Offers(offered.AllowableSignatureSchemes, key.Scheme.Algorithm))
        && (offered.AllowableHashAlgorithms is null || Offers(offered.AllowableHashAlgorithms, key.Scheme.Hash));

    private void Object(string where, string what) => _errors.Add(Error(Supported + where, what));

    private static ErrorObject Error(string pointer, string detail) =>
        new(StatusCodes.Status422UnprocessableEntity.ToString(CultureInfo.InvariantCulture), detail)
        {
            Code = "invalid_resource_data",
            Source = new ErrorSource(pointer),
        };
}
