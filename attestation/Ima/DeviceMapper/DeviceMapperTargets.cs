using System.Collections.Frozen;
using System.Globalization;

namespace Keylime.Attestation;

/// <summary>The attributes that the kernel measures of each target it documents (dm-ima.rst, "Supported targets"): a row without one of them is no row of that target.</summary>
internal static class DeviceMapperTargets
{
    private static readonly FrozenDictionary<string, string[]> Required = new Dictionary<string, string[]>
    {
        ["cache"] = ["metadata_mode", "cache_metadata_device", "cache_device", "cache_origin_device", "writethrough", "writeback", "passthrough", "metadata2", "no_discard_passdown"],
        ["crypt"] =
        [
            "allow_discards", "same_cpu_crypt", "submit_from_crypt_cpus", "no_read_workqueue", "no_write_workqueue", "iv_large_sectors", "key_size", "key_parts", "key_extra_size",
            "key_mac_size",
        ],
        ["integrity"] =
        [
            "dev_name", "start", "tag_size", "mode", "recalculate", "allow_discards", "fix_padding", "fix_hmac", "legacy_recalculate", "journal_sectors", "interleave_sectors",
            "buffer_sectors",
        ],
        ["linear"] = ["device_name", "start"],
        ["mirror"] = ["nr_mirrors", "handle_errors", "keep_log", "log_type_status"],
        ["multipath"] = ["nr_priority_groups"],
        ["raid"] = ["raid_type", "raid_disks", "raid_state"],
        ["snapshot"] = ["snap_origin_name", "snap_cow_name", "snap_valid", "snap_merge_failed", "snapshot_overflowed"],
        ["striped"] = ["stripes", "chunk_size"],
        ["verity"] =
        [
            "hash_failed", "verity_version", "data_device_name", "hash_device_name", "verity_algorithm", "root_digest", "salt", "ignore_zero_blocks", "check_at_most_once",
        ],
    }.ToFrozenDictionary();

    // How many there are of each numbered attribute is itself an attribute.
    private static readonly FrozenDictionary<string, (string Count, string[] Formats)> Numbered = new Dictionary<string, (string, string[])>
    {
        ["mirror"] = ("nr_mirrors", ["mirror_device_{0}", "mirror_device_{0}_status"]),
        ["multipath"] = ("nr_priority_groups", ["pg_state_{0}", "nr_pgpaths_{0}", "path_selector_name_{0}"]),
        ["raid"] = ("raid_disks", ["raid_device_{0}_status"]),
        ["striped"] = ("stripes", ["stripe_{0}_device_name", "stripe_{0}_physical_start", "stripe_{0}_status"]),
    }.ToFrozenDictionary();

    /// <summary>The first attribute that a documented target lacks; <see langword="null"/> if none, or if the target is one that the kernel does not document.</summary>
    public static string? Missing(Dictionary<string, string> attributes)
    {
        var target = attributes["target_name"];
        if (!Required.TryGetValue(target, out var required))
            return null;
        if (Array.Find(required, name => !attributes.ContainsKey(name)) is { } missing)
            return missing;
        if (!Numbered.TryGetValue(target, out var numbered))
            return null;
        if (!int.TryParse(attributes[numbered.Count], NumberStyles.None, CultureInfo.InvariantCulture, out var count))
            return $"a number as {numbered.Count}";

        for (var i = 0; i < Math.Min(count, attributes.Count + 1); i++)
        {
            foreach (var format in numbered.Formats)
            {
                var name = format.Replace("{0}", i.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
                if (!attributes.ContainsKey(name))
                    return name;
            }
        }

        return null;
    }
}
