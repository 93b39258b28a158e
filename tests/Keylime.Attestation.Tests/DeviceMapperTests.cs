using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using CsCheck;

namespace Keylime.Attestation.Tests;

/// <summary>Measurements of the device mapper: the kernel's grammar, upstream's rules, and states that are kept.</summary>
public static class DeviceMapperTests
{
    private const string Device = "name=test,uuid=CRYPT-VERITY-c76d-test,major=253,minor=0,minor_count=1,num_targets=1;";

    private const string Verity =
        "target_index=0,target_begin=0,target_len=204808,target_name=verity,target_version=1.8.0,hash_failed=V,verity_version=1,data_device_name=7:1,hash_device_name=7:0," +
        "verity_algorithm=sha256,root_digest=6eaf,salt=d738,ignore_zero_blocks=n,check_at_most_once=n;";

    private const string Load = "dm_version=4.45.0;" + Device + Verity;

    private const string Policy =
        """
        {"version":1,"match_on":"uuid","rules":{"root":{"required":true,"device_resume_required":true,
        "device_rename":{"valid_name":"test|test2","valid_uuid":false},"device_remove":{"allow_removal":false},"allow_clear":false,
        "table_load":{"allow_multiple_loads":false,"name":"test","uuid":"CRYPT-VERITY-.*","major":253,"minor":0,"minor_count":1,"num_targets":1,
        "targets":[{"target_index":0,"target_begin":0,"target_len":204808,"target_name":"verity","target_version":"1.8.0","hash_failed":"V","verity_version":1,
        "data_device_name":"7:1","hash_device_name":null,"root_digest":"6eaf","ignore_zero_blocks":false,"check_at_most_once":"n"}]}}}}
        """;

    private static string Resume => Tail($"active_table_hash=sha256:{Hash(Load)};");

    private static string Remove =>
        $"dm_version=4.45.0;device_active_metadata={Device}active_table_hash=sha256:{Hash(Load)},remove_all=n;current_device_capacity=204808;";

    private const string Clear = "dm_version=4.45.0;name=test,uuid=CRYPT-VERITY-c76d-test;table_clear=no_data;\0\0\0\0current_device_capacity=204808;";

    private const string Update = "dm_version=4.45.0;" + Device;

    [Fact]
    public static void A_device_that_is_as_its_rule_says_is_in_order()
    {
        var state = Step(DeviceMapperState.Empty, "dm_table_load", Load);
        Assert.Equal([FindingCodes.ImaDmDeviceInvalid, FindingCodes.ImaDmRuleUnused], state.Complete(Parse(Policy)).Select(f => f.Code));
        state = Step(state, "dm_device_resume", Resume);
        Assert.Empty(state.Complete(Parse(Policy)));
    }

    [Fact]
    public static void What_happens_to_it_later_is_judged_by_its_rule()
    {
        var state = Step(Step(DeviceMapperState.Empty, "dm_table_load", Load), "dm_device_resume", Resume);
        Check("dm_device_remove", Remove, FindingCodes.ImaDmChangeNotAllowed, "it is removed");
        Check("dm_table_load", Load, FindingCodes.ImaDmOrder, "another table is loaded");
        Check("dm_table_clear", Clear, FindingCodes.ImaDmChangeNotAllowed, "its table is cleared");
        Check("dm_target_update", Update + Verity.Replace("hash_failed=V", "hash_failed=C", StringComparison.Ordinal), FindingCodes.ImaDmTableNotAllowed, "hash_failed is 'C'");
        Check("dm_device_resume", Resume, FindingCodes.ImaDmOrder, "active already");
        Check("dm_device_rename", Tail("new_name=other,new_uuid=CRYPT-VERITY-c76d-test;"), FindingCodes.ImaDmChangeNotAllowed, "its name becomes 'other'");
        Check("dm_device_rename", Tail("new_name=test,new_uuid=x;"), FindingCodes.ImaDmChangeNotAllowed, "its uuid becomes 'x'");
        Assert.Empty(Apply(state, "dm_target_update", Update + Verity).Findings);
        Assert.Empty(Apply(state, "dm_device_rename", Tail("new_name=test2,new_uuid=CRYPT-VERITY-c76d-test;")).State.Complete(Parse(Policy)));

        void Check(string name, string text, string code, string why)
        {
            var step = Apply(state, name, text);
            var finding = Assert.Single(step.Findings);
            Assert.Equal(code, finding.Code);
            Assert.StartsWith("device-mapper device 'test': ", finding.Detail);
            Assert.Contains(why, finding.Detail);
            Assert.Contains(step.State.Complete(Parse(Policy)), f => f.Code == FindingCodes.ImaDmDeviceInvalid); // and is not forgotten
        }
    }

    [Fact]
    public static void Nothing_happens_before_a_table_is_loaded()
    {
        foreach (var (name, text) in ((string, string)[])[("dm_device_resume", Resume), ("dm_device_remove", Remove), ("dm_table_clear", Clear), ("dm_target_update", Update + Verity),
            ("dm_device_rename", Tail("new_name=test2,new_uuid=;")), ("dm_device_rename", "dm_version=4.45.0;device_rename=no_data;new_name=a,new_uuid=;current_device_capacity=0;"),
            ("dm_device_resume", "dm_version=4.45.0;name=a,uuid=;device_resume=no_data;current_device_capacity=0;"),
            ("dm_device_remove", "dm_version=4.45.0;name=a,uuid=;device_remove=no_data;remove_all=y;current_device_capacity=0;")])
        {
            var step = Apply(DeviceMapperState.Empty, name, text);
            Assert.Equal(FindingCodes.ImaDmOrder, Assert.Single(step.Findings).Code);
            Assert.True(step.State.IsEmpty);
        }
    }

    [Theory]
    [InlineData("name=test", "name=tset", "name is 'tset'")]
    [InlineData("major=253", "major=254", "major is '254', and rule 'root' allows 253")]
    [InlineData("target_len=204808", "target_len=1", "target_len is '1'")]
    [InlineData("root_digest=6eaf", "root_digest=6eafff", "root_digest is '6eafff', and rule 'root' allows what '6eaf' matches")]
    [InlineData("ignore_zero_blocks=n", "ignore_zero_blocks=y", "ignore_zero_blocks is 'y', and rule 'root' allows no")]
    [InlineData("target_name=verity,target_version=1.8.0", "target_name=linear,target_version=1.8.0,device_name=1:1,start=0", "target_name is 'linear'")]
    [InlineData("num_targets=1", "num_targets=2", "its table has 2 targets")]
    public static void A_table_that_differs_from_the_rule_is_refused_and_stays_so(string old, string now, string why)
    {
        var text = Load.Replace(old, now, StringComparison.Ordinal);
        var step = Apply(DeviceMapperState.Empty, "dm_table_load", text);
        Assert.All(step.Findings, f => Assert.Equal(FindingCodes.ImaDmTableNotAllowed, f.Code));
        Assert.Contains(step.Findings, f => f.Detail.Contains(why, StringComparison.Ordinal));
        if (now.StartsWith("num_targets", StringComparison.Ordinal))
            return;

        var resumed = Apply(step.State, "dm_device_resume", Tail($"active_table_hash=sha256:{Hash(text)};").Replace(old, now, StringComparison.Ordinal));
        Assert.Equal(FindingCodes.ImaDmTableNotAllowed, Assert.Single(resumed.Findings).Code);
        Assert.NotEmpty(resumed.State.Complete(Parse(Policy)));
    }

    [Fact]
    public static void A_device_that_no_rule_is_for_is_refused()
    {
        var step = Apply(DeviceMapperState.Empty, "dm_table_load", Load.Replace("CRYPT-VERITY", "LVM", StringComparison.Ordinal));
        Assert.Equal(FindingCodes.ImaDmNotInPolicy, Assert.Single(step.Findings).Code);
        var other = Parse(Policy.Replace("\"root\"", "\"swap\"", StringComparison.Ordinal));
        var loaded = Step(DeviceMapperState.Empty, "dm_table_load", Load);
        Assert.Contains(loaded.Apply(other, "dm_device_resume"u8, Encoding.UTF8.GetBytes(Resume)).Findings, f => f.Detail.Contains("not in the policy any more", StringComparison.Ordinal));
        Assert.Equal([FindingCodes.ImaDmNotInPolicy, FindingCodes.ImaDmRuleUnused], loaded.Complete(other).Select(f => f.Code));
    }

    [Fact]
    public static void The_table_that_is_resumed_is_the_one_that_was_loaded()
    {
        var state = Step(DeviceMapperState.Empty, "dm_table_load", Load);
        var step = Apply(state, "dm_device_resume", Tail($"active_table_hash=sha256:{new string('0', 64)};"));
        Assert.Equal(FindingCodes.ImaDmTableChanged, Assert.Single(step.Findings).Code);
        Assert.NotEmpty(step.State.Complete(Parse(Policy)));
    }

    [Fact]
    public static void Where_the_rule_allows_it_tables_change_and_go()
    {
        var policy = Policy.Replace("\"allow_multiple_loads\":false", "\"allow_multiple_loads\":true", StringComparison.Ordinal)
            .Replace("\"allow_removal\":false", "\"allow_removal\":true", StringComparison.Ordinal).Replace("\"allow_clear\":false", "\"allow_clear\":true", StringComparison.Ordinal);
        var active = Step(Step(DeviceMapperState.Empty, "dm_table_load", Load, policy), "dm_device_resume", Resume, policy);
        var reloaded = Step(active, "dm_table_load", Load, policy);
        Assert.NotEmpty(reloaded.Complete(Parse(policy))); // it waits for a resume
        Assert.Empty(Step(reloaded, "dm_device_resume", Resume, policy).Complete(Parse(policy)));
        Assert.Empty(Step(reloaded, "dm_table_clear", Clear, policy).Complete(Parse(policy))); // the table of before is active still
        Assert.True(Step(Step(DeviceMapperState.Empty, "dm_table_load", Load, policy), "dm_table_clear", Clear, policy).IsEmpty);
        Assert.True(Step(active, "dm_device_remove", Remove, policy).IsEmpty);
        var both = $"dm_version=4.45.0;device_active_metadata={Device}device_inactive_metadata={Device}active_table_hash=sha256:00,inactive_table_hash=sha256:11,remove_all=y;current_device_capacity=1;";
        Assert.True(Step(reloaded, "dm_device_remove", both, policy).IsEmpty);
    }

    [Fact]
    public static void A_table_in_several_measurements_is_one_table()
    {
        var rule = JsonNode.Parse(Policy)!;
        var load = rule["rules"]!["root"]!["table_load"]!;
        load["num_targets"] = 3;
        load["targets"] = new JsonArray([.. Enumerable.Range(0, 3).Select(i => (JsonNode)new JsonObject { ["target_name"] = "linear", ["start"] = i })]);
        var policy = rule.ToJsonString();
        var device = "dm_version=4.45.0;" + Device.Replace("num_targets=1", "num_targets=3", StringComparison.Ordinal);
        string[] parts = [device + Linear(0) + Linear(1), device + Linear(2)];

        var half = Step(DeviceMapperState.Empty, "dm_table_load", parts[0], policy);
        Assert.Contains("did not come", half.Complete(Parse(policy))[0].Detail);
        var resume = Tail($"active_table_hash=sha256:{Hash(parts[0] + parts[1])};").Replace("num_targets=1", "num_targets=3", StringComparison.Ordinal);
        Assert.Equal(FindingCodes.ImaDmOrder, Assert.Single(Apply(half, "dm_device_resume", resume, policy).Findings).Code);

        Assert.True(DeviceMapperState.TryDecode(half.Encode(), out var kept, out var error), error); // between two attestations
        Assert.Equal(half.Encode(), kept.Encode());
        Assert.Empty(Step(Step(kept, "dm_table_load", parts[1], policy), "dm_device_resume", resume, policy).Complete(Parse(policy)));
        Assert.Equal(FindingCodes.ImaDmMalformed, Apply(DeviceMapperState.Empty, "dm_table_load", parts[1], policy).Findings[0].Code); // begins in the middle
        Assert.Contains(Apply(kept, "dm_table_load", device + Linear(2).Replace("start=2", "start=9", StringComparison.Ordinal), policy).Findings, f => f.Detail.Contains("target 2: start is '9'", StringComparison.Ordinal));

        static string Linear(int i) => $"target_index={i},target_begin=0,target_len=1,target_name=linear,target_version=1.4.0,device_name=7:0,start={i};";
    }

    public static TheoryData<string> Targets =>
    [
        "cache,target_version=2.2.0,metadata_mode=rw,cache_metadata_device=253:4,cache_device=253:3,cache_origin_device=253:5,writethrough=y,writeback=n,passthrough=n,metadata2=y,no_discard_passdown=n",
        "crypt,target_version=1.23.0,allow_discards=y,same_cpu_crypt=n,submit_from_crypt_cpus=n,no_read_workqueue=n,no_write_workqueue=n,iv_large_sectors=n,integrity_tag_size=48,cipher_auth=hmac(sha256),cipher_string=capi:authenc(hmac(sha256),xts(aes))-plain64,key_size=32,key_parts=1,key_extra_size=0,key_mac_size=0",
        "integrity,target_version=1.10.0,dev_name=253:1,start=0,tag_size=32,mode=J,recalculate=n,allow_discards=n,fix_padding=n,fix_hmac=n,legacy_recalculate=n,journal_sectors=88,interleave_sectors=32768,buffer_sectors=128",
        "linear,target_version=1.4.0,device_name=7:0,start=512",
        "mirror,target_version=1.14.0,nr_mirrors=2,mirror_device_0=253:2,mirror_device_0_status=A,mirror_device_1=253:3,mirror_device_1_status=A,handle_errors=y,keep_log=n,log_type_status=",
        "multipath,target_version=1.14.0,nr_priority_groups=2,pg_state_0=E,nr_pgpaths_0=1,path_selector_name_0=queue-length,path_name_0_0=8:16,is_active_0_0=A,fail_count_0_0=0,path_selector_status_0_0=,pg_state_1=E,nr_pgpaths_1=0,path_selector_name_1=queue-length",
        "raid,target_version=1.15.1,raid_type=raid1,raid_disks=2,raid_state=idle,raid_device_0_status=A,raid_device_1_status=A",
        "snapshot,target_version=1.16.0,snap_origin_name=254:1,snap_cow_name=254:2,snap_valid=y,snap_merge_failed=n,snapshot_overflowed=n",
        "striped,target_version=1.6.0,stripes=2,chunk_size=128,stripe_0_device_name=253:1,stripe_0_physical_start=0,stripe_0_status=A,stripe_1_device_name=253:3,stripe_1_physical_start=0,stripe_1_status=A",
        "verity,target_version=1.8.0,hash_failed=V,verity_version=1,data_device_name=253:1,hash_device_name=253:0,verity_algorithm=sha256,root_digest=29cb,salt=-,ignore_zero_blocks=n,check_at_most_once=n,root_hash_sig_key_desc=k,verity_mode=restart_on_corruption",
    ];

    [Theory]
    [MemberData(nameof(Targets))]
    public static void Every_target_that_the_kernel_documents_is_read(string target)
    {
        var text = "dm_version=4.45.0;" + Device + "target_index=0,target_begin=0,target_len=8,target_name=" + target + ";";
        var load = Assert.IsType<DeviceMapperEvent.TableLoad>(Read("dm_table_load", text));
        Assert.Equal(target.Split(',')[0], load.Targets[0].Attributes["target_name"]);
        foreach (var pair in target.Split(',').Skip(1).Where(p => p.Contains('=', StringComparison.Ordinal) && !p.Contains('(', StringComparison.Ordinal)))
            Assert.Equal(pair.Split('=')[1], load.Targets[0].Attributes[pair.Split('=')[0]]);

        // Of what the kernel always writes nothing may be missing, and nothing may be there twice.
        var optional = (string[])["integrity_tag_size", "cipher_auth", "cipher_string", "path_", "is_active", "fail_count", "root_hash_sig_key_desc", "verity_mode"];
        foreach (var pair in target.Split(',').Skip(1).Where(p => p.Contains('=', StringComparison.Ordinal) && !optional.Any(o => p.StartsWith(o, StringComparison.Ordinal) && !p.StartsWith("path_selector_name", StringComparison.Ordinal))))
        {
            Assert.Throws<FormatException>(() => Read("dm_table_load", text.Replace($",{pair}", "", StringComparison.Ordinal)));
            Assert.Throws<FormatException>(() => Read("dm_table_load", text.Replace($",{pair}", $",{pair},{pair}", StringComparison.Ordinal)));
        }
    }

    [Fact]
    public static void Values_with_commas_and_escaped_names_are_read()
    {
        var crypt = Assert.IsType<DeviceMapperEvent.TableLoad>(Read("dm_table_load", "dm_version=4.45.0;" + Device + "target_index=0,target_begin=0,target_len=8,target_name=" + Targets.ElementAt(1).Data + ";"));
        Assert.Equal("capi:authenc(hmac(sha256),xts(aes))-plain64", crypt.Targets[0].Attributes["cipher_string"]);
        Assert.Equal("hmac(sha256)", crypt.Targets[0].Attributes["cipher_auth"]);
        var rename = Assert.IsType<DeviceMapperEvent.DeviceRename>(Read("dm_device_rename", Tail(@"new_name=li\=ne\,\;\\,new_uuid=1234;")));
        Assert.Equal((@"li=ne,;\", "1234"), (rename.NewName, rename.NewUuid));
        var bare = Assert.IsType<DeviceMapperEvent.TableLoad>(Read("dm_table_load", "dm_version=4.45.0;" + Device + "target_index=0,target_begin=0,target_len=8,target_index=1,target_begin=8,target_len=8,"));
        Assert.Equal(2, bare.Targets.Length); // targets without a status of their own
    }

    [Theory]
    [InlineData("dm_table_load", "", "'dm_version=' is expected at byte 0")]
    [InlineData("dm_table_load", "dm_version=4.45;", "'.' is expected")]
    [InlineData("dm_table_load", "dm_version=4.45.0;name=,uuid=", "a device's name is expected")]
    [InlineData("dm_table_load", @"dm_version=4.45.0;name=a\b,uuid=", "escapes nothing")]
    [InlineData("dm_table_load", "dm_version=4.45.0;name=a=b,uuid=", "not escaped")]
    [InlineData("dm_table_load", "dm_version=4.45.0;" + Device, "a target is expected")]
    [InlineData("dm_table_load", "dm_version=4.45.0;" + Device + "target_index=5000,target_begin=0,target_len=8,", "target 5000 of 1024")]
    [InlineData("dm_table_load", "dm_version=4.45.0;" + Device + Verity + "x", "'target_index=' is expected")]
    [InlineData("dm_device_resume", "dm_version=4.45.0;" + Device + "active_table_hash=00;current_device_capacity=1;", "algorithm in front")]
    [InlineData("dm_device_resume", "dm_version=4.45.0;" + Device + "active_table_hash=sha256:00;current_device_capacity=x;", "a number is expected")]
    [InlineData("dm_device_resume", "dm_version=4.45.0;" + Device + "active_table_hash=sha256:00;current_device_capacity=1;;", "the end of the measurement")]
    [InlineData("dm_device_remove", "dm_version=4.45.0;name=a,uuid=;device_remove=no_data;remove_all=maybe;", "y or n")]
    [InlineData("dm_table_clear", "dm_version=4.45.0;name=a,uuid=;", "'table_clear=no_data' is expected")]
    public static void What_is_no_measurement_is_a_finding_with_its_place(string name, string text, string why)
    {
        var step = Apply(DeviceMapperState.Empty, name, text);
        var finding = Assert.Single(step.Findings);
        Assert.Equal(FindingCodes.ImaDmMalformed, finding.Code);
        Assert.StartsWith($"{name}: ", finding.Detail);
        Assert.Contains(why, finding.Detail);
        Assert.True(step.State.IsEmpty);
    }

    [Fact]
    public static void A_measurement_cut_off_anywhere_is_none()
    {
        foreach (var (name, text) in ((string, string)[])[("dm_table_load", Load), ("dm_device_resume", Resume), ("dm_device_remove", Remove), ("dm_table_clear", Clear)])
        {
            for (var length = 0; length < text.Length; length++)
            {
                if (!text[..length].EndsWith("target_len=204808,", StringComparison.Ordinal)) // there a target without a status of its own ends
                    Assert.Throws<FormatException>(() => Read(name, text[..length]));
            }
        }
    }

    [Fact]
    public static void Any_text_gives_a_step() =>
        Gen.Select(Gen.Int[0, Load.Length - 1], Gen.Char[" \\,;=\0aé"], Gen.Int[0, 3]).Sample((at, c, insert) =>
        {
            var text = Load[..at] + new string(c, insert) + Load[Math.Min(at + 1, Load.Length)..];
            var step = Apply(DeviceMapperState.Empty, "dm_table_load", text);
            Assert.True(step.Findings.Length > 0 || !step.State.IsEmpty);
        }, iter: 2000);

    [Fact]
    public static void States_have_one_form_of_bytes()
    {
        var state = Step(Step(DeviceMapperState.Empty, "dm_table_load", Load), "dm_device_resume", Resume);
        state = Apply(state, "dm_table_load", Load.Replace("name=test,uuid=CRYPT-VERITY-c76d-test", "name=a,uuid=CRYPT-VERITY-2", StringComparison.Ordinal)).State;
        var bytes = state.Encode();
        Assert.True(DeviceMapperState.TryDecode(bytes, out var again, out var error), error);
        Assert.Equal(bytes, again.Encode());
        Assert.Equal(2, again.Devices.Length);
        Assert.Equal(state.Complete(Parse(Policy)).Select(f => f.Detail), again.Complete(Parse(Policy)).Select(f => f.Detail));
        Assert.Equal(new byte[] { 1, 0, 0 }, DeviceMapperState.Empty.Encode());

        for (var length = 0; length < bytes.Length; length++)
            Assert.False(DeviceMapperState.TryDecode(bytes.AsSpan(0, length), out _, out _));
        Assert.False(DeviceMapperState.TryDecode([.. bytes, 0], out _, out _));
        Gen.Int[0, bytes.Length - 1].Select(Gen.Byte).Sample((at, b) =>
        {
            byte[] changed = [.. bytes];
            changed[at] = b;
            if (DeviceMapperState.TryDecode(changed, out var other, out _))
                Assert.Equal(changed, other.Encode());
        });
    }

    [Theory]
    [InlineData("null", "y", true)]
    [InlineData("null", null, true)]
    [InlineData("true", "yes", true)]
    [InlineData("true", "On", true)]
    [InlineData("true", "n", false)]
    [InlineData("true", "2", false)]
    [InlineData("true", null, false)]
    [InlineData("false", "0", true)]
    [InlineData("false", "test", false)]
    [InlineData("7", "7", true)]
    [InlineData("7", "007", true)]
    [InlineData("7", "8", false)]
    [InlineData("7", "x", false)]
    [InlineData("\"a|b|cc+\"", "ccc", true)]
    [InlineData("\"a|b|cc+\"", "c", false)]
    [InlineData("\"10|20\"", "20", true)]
    [InlineData("\"\"", "", true)]
    [InlineData("\"x\"", null, false)]
    public static void A_reference_means_what_it_means_upstream(string reference, string? value, bool allowed)
    {
        using var json = System.Text.Json.JsonDocument.Parse(reference);
        Assert.Equal(allowed, DeviceMapperReference.Read(json.RootElement, "$").Allows(value));
    }

    [Theory]
    [InlineData("\"version\":1", "\"version\":2", "$.ima.dm_policy.version")]
    [InlineData("\"match_on\":\"uuid\"", "\"match_on\":\"major\"", "match_on")]
    [InlineData("\"required\":true,", "", "rules['root'].required: the member is missing")]
    [InlineData("\"required\":true", "\"required\":1", "rules['root'].required: Number found")]
    [InlineData("\"allow_clear\":false", "\"allow_clear\":false,\"allow_claer\":true", "allow_claer: no such member")]
    [InlineData("\"num_targets\":1", "\"num_targets\":2", "num_targets: the number of targets in the list")]
    [InlineData("\"CRYPT-VERITY-.*\"", "null", "table_load.uuid: devices are matched on it")]
    [InlineData("\"CRYPT-VERITY-.*\"", "\"(a\"", "table_load.uuid, character 0: a ( without its )")]
    [InlineData("\"major\":253", "\"major\":[]", "table_load.major: Array found")]
    [InlineData("\"major\":253", "\"major\":2.5", "table_load.major: Number found")]
    [InlineData("\"target_index\":0,", "\"target_index\":0,\"target_index\":0,", "target_index")]
    [InlineData("{\"version\"", "[{\"version\"", "$.ima.dm_policy: no JSON: ")]
    public static void What_is_no_policy_is_refused_with_its_place(string old, string now, string where)
    {
        Assert.False(DeviceMapperPolicy.TryParse(Encoding.UTF8.GetBytes(Policy.Replace(old, now, StringComparison.Ordinal)), out var policy, out var error));
        Assert.Null(policy);
        Assert.Contains(where, error);
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static string Tail(string text) => $"dm_version=4.45.0;{Device}{text}current_device_capacity=204808;";

    private static DeviceMapperEvent Read(string name, string text) => DeviceMapperReader.Read(DeviceMapperEvents.KindOf(Encoding.ASCII.GetBytes(name))!.Value, Encoding.UTF8.GetBytes(text));

    private static DeviceMapperPolicy Parse(string json)
    {
        Assert.True(DeviceMapperPolicy.TryParse(Encoding.UTF8.GetBytes(json), out var policy, out var error), error);
        return policy;
    }

    private static DeviceMapperStep Apply(DeviceMapperState state, string name, string text, string policy = Policy) =>
        state.Apply(Parse(policy), Encoding.ASCII.GetBytes(name), Encoding.UTF8.GetBytes(text));

    private static DeviceMapperState Step(DeviceMapperState state, string name, string text, string policy = Policy)
    {
        var step = Apply(state, name, text, policy);
        Assert.Empty(step.Findings);
        return step.State;
    }
}
