using System.CommandLine;

namespace Keylime.Tenant;

/// <summary>What <c>keylime policy create runtime</c> can be told.</summary>
internal sealed class CreateRuntimeOptions
{
    public Option<string[]> Rootfs { get; } = Many("--rootfs", "A folder that is a system's root: its regular files are hashed.");

    public Option<string[]> Skip { get; } = Many("--skip", "A path below --rootfs that is left out.");

    public Option<string?> Dpkg { get; } = Perhaps("--dpkg", "Debian's package database below a root (/ if none is named): files as their packages brought them.");

    public Option<bool> AllowChanged { get; } = new("--allow-changed") { Description = "With --dpkg: list also files that are not as their package brought them." };

    public Option<string[]> Rpm { get; } = Many("--rpm", "An .rpm file, or a folder of them: what their headers say.");

    public Option<string[]> Initrd { get; } = Many("--initrd", "An initial RAM disk: the files in its archives.");

    public Option<string[]> ImaLog { get; } = Many("--ima-log", "A measurement list of IMA, text or binary; - reads the standard input.");

    public Option<string[]> Node { get; } = Many("--node", "A node whose measurement list the service keeps.");

    public Option<string[]> Allowlist { get; } = Many("--allowlist", "A list of checksums: Keylime's allow-lists, or what sha256sum prints.");

    public Option<string?> Base { get; } = new("--base") { Description = "A runtime policy that all is added to." };

    public Option<string[]> Exclude { get; } = Many("--exclude", "A regular expression of paths that are not judged.");

    public Option<string[]> ExcludeFile { get; } = Many("--exclude-file", "A file of such expressions, one a line; lines that start with # are passed over.");

    public Option<bool> Keyrings { get; } = new("--keyrings") { Description = "Allow the keys that a measurement list shows." };

    public Option<bool> ImaBuf { get; } = new("--ima-buf") { Description = "Allow the buffers that a measurement list shows (kexec's command line and others)." };

    public Option<string[]> IgnoredKeyring { get; } = Many("--ignored-keyring", "A keyring whose keys are not judged; * for all.");

    public Option<string[]> VerificationKey { get; } = Many("--verification-key", "A key or certificate, PEM or DER: files that it signed are accepted.");

    public Option<string> Algorithm { get; } = Hash("--algo", "The digest of files that are hashed here: that of the kernel's ima_hash.", "sha256");

    public Option<string?> LogHash { get; } = Hash<string?>("--log-hash", "The lists' template hash; from a text list or the base if left out, otherwise sha1.", null);

    public Option<string[]> ClassRule { get; } = Many("--class-rule", "NAME=MODE[:REASON] for what no list can name: memfd, dpkg-temporary, boot_aggregate; allow, check or off.");

    public Option<long?> ViolationBudget { get; } = new("--violation-budget") { Description = "How many violations (files that were open for writing while measured) one boot may have." };

    public Option<string?> Out { get; } = new("--out") { Description = "The file that the policy goes into; the standard output if left out." };

    public IEnumerable<Option> All =>
        [Rootfs, Skip, Dpkg, AllowChanged, Rpm, Initrd, ImaLog, Node, Allowlist, Base, Exclude, ExcludeFile, Keyrings, ImaBuf, IgnoredKeyring, VerificationKey,
         Algorithm, LogHash, ClassRule, ViolationBudget, Out];

    private static Option<string[]> Many(string name, string description) => new(name) { Description = description + " May be repeated.", DefaultValueFactory = static _ => [] };

    private static Option<string?> Perhaps(string name, string description) => new(name) { Description = description, Arity = ArgumentArity.ZeroOrOne };

    private static Option<T> Hash<T>(string name, string description, T usual)
    {
        var option = new Option<T>(name) { Description = description, DefaultValueFactory = _ => usual };
        option.AcceptOnlyFromAmong("sha1", "sha256", "sha384", "sha512");
        return option;
    }
}
