using System.Collections.Immutable;
using System.Security.Cryptography;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Judges one event of the device mapper by a policy, in the state that the events before it left.</summary>
/// <remarks>
/// The rules are upstream's (keylime/ima/ima_dm.py). A device has an active and an inactive table, as the kernel has it: a load fills the inactive one, a
/// resume makes it the active one, a clear empties it. The kernel has done what an event says; the state follows it, whether the policy allows it or not.
/// </remarks>
internal sealed class DeviceMapperJudge(DeviceMapperPolicy policy, DeviceMapperState state)
{
    private const int MaxPending = ushort.MaxValue;

    private readonly ImmutableArray<Finding>.Builder _findings = ImmutableArray.CreateBuilder<Finding>();

    public DeviceMapperStep Take(DeviceMapperEvent read, ReadOnlySpan<byte> data)
    {
        if (read is DeviceMapperEvent.TableLoad load)
            return Done(Load(load, data));
        if (Find(read) is not { } device)
        {
            Add(ImaDmOrder, read, $"{Verb(read)} before a table was loaded");
            return Done(state);
        }

        if (policy.Find(device.Rule) is not { } rule)
        {
            Add(ImaDmNotInPolicy, read, $"its rule '{device.Rule}' is not in the policy any more");
            return Done(state);
        }

        return Done(read switch
        {
            DeviceMapperEvent.DeviceResume resume => Resume(resume, device),
            DeviceMapperEvent.DeviceRemove => Remove(read, device, rule),
            DeviceMapperEvent.TableClear => Clear(read, device, rule),
            DeviceMapperEvent.DeviceRename rename => Rename(rename, device, rule),
            DeviceMapperEvent.TargetUpdate update => Update(update, device, rule),
            _ => throw new System.Diagnostics.UnreachableException(),
        });
    }

    private DeviceMapperState Load(DeviceMapperEvent.TableLoad load, ReadOnlySpan<byte> data)
    {
        var key = policy.KeyOf(load.Name!, load.Uuid!);
        if (policy.Rules.FirstOrDefault(r => r.Device.First(d => d.Key == (policy.MatchOnUuid ? "uuid" : "name")).Value.Allows(key)) is not { } rule)
        {
            Add(ImaDmNotInPolicy, load, $"no rule of the policy is for a device of this {(policy.MatchOnUuid ? "uuid" : "name")}");
            return state;
        }

        var old = Find(load);
        var goesOn = old is { Pending.IsEmpty: false } && old.Rule == rule.Name && old.NextTarget == load.Targets[0].Index;
        if (old is not null && !goesOn && !rule.AllowMultipleLoads)
        {
            Add(ImaDmOrder, load, $"another table is loaded, and rule '{rule.Name}' allows one");
            return Refuse(old);
        }

        if (old is null && state.Devices.Length == DeviceMapperState.MaxDevices)
        {
            Add(ImaDmOrder, load, $"there are {DeviceMapperState.MaxDevices} devices already");
            return state;
        }

        JudgeTable(load, rule, goesOn ? old!.NextTarget : 0);
        var device = (old ?? new DeviceMapperDevice(load.Name!, load.Uuid!, rule.Name)) with { Rule = rule.Name };
        var before = goesOn ? old!.Pending.Span : [];
        var next = load.Targets[^1].Index + 1;
        var refused = _findings.Count > 0 || (goesOn && old!.Standing == DeviceMapperStanding.Refused);
        var last = next >= Targets(load);
        if (!last && before.Length + data.Length > MaxPending)
        {
            Add(ImaDmMalformed, load, $"its table takes more than {MaxPending} bytes of measurements");
            (refused, last) = (true, true);
        }

        return state.With(old, device with
        {
            Standing = refused ? DeviceMapperStanding.Refused : rule.ResumeRequired ? DeviceMapperStanding.Waiting : DeviceMapperStanding.InOrder,
            LoadedTable = last ? SHA256.HashData([.. before, .. data]) : ReadOnlyMemory<byte>.Empty,
            Pending = last ? ReadOnlyMemory<byte>.Empty : (byte[])[.. before, .. data],
            NextTarget = last ? 0 : next,
        });
    }

    private void JudgeTable(DeviceMapperEvent.TableLoad load, DeviceMapperRule rule, int first)
    {
        foreach (var (name, reference) in rule.Device)
        {
            var seen = name switch { "name" => load.Name, "uuid" => load.Uuid, _ => load.Device[name] };
            if (!reference.Allows(seen))
                Add(ImaDmTableNotAllowed, load, $"{name} is '{seen}', and rule '{rule.Name}' allows {reference}");
        }

        if (Targets(load) != rule.Targets.Length)
        {
            Add(ImaDmTableNotAllowed, load, $"its table has {load.Device["num_targets"]} targets, and rule '{rule.Name}' allows {rule.Targets.Length}");
            return;
        }

        foreach (var target in load.Targets)
        {
            if (target.Index != first++)
            {
                Add(ImaDmMalformed, load, $"target {target.Index} comes where {first - 1} is expected");
                return;
            }

            JudgeTarget(load, target, rule);
        }
    }

    private void JudgeTarget(DeviceMapperEvent of, DeviceMapperTarget target, DeviceMapperRule rule)
    {
        if (target.Index >= rule.Targets.Length)
        {
            Add(ImaDmTableNotAllowed, of, $"there is a target {target.Index}, and rule '{rule.Name}' allows {rule.Targets.Length}");
            return;
        }

        foreach (var (name, reference) in rule.Targets[target.Index])
        {
            var seen = target.Attributes.GetValueOrDefault(name);
            if (!reference.Allows(seen))
                Add(ImaDmTableNotAllowed, of, $"target {target.Index}: {name} is {(seen is null ? "not there" : $"'{seen}'")}, and rule '{rule.Name}' allows {reference}");
        }
    }

    private DeviceMapperState Resume(DeviceMapperEvent.DeviceResume resume, DeviceMapperDevice device)
    {
        if (!device.Pending.IsEmpty)
        {
            Add(ImaDmOrder, resume, "it is resumed before the rest of its table came");
            return Refuse(device);
        }

        if (device.LoadedTable.IsEmpty)
        {
            Add(ImaDmOrder, resume, "it is resumed again, and its table is active already");
            return Refuse(device);
        }

        var next = device with { ActiveTable = device.LoadedTable, LoadedTable = ReadOnlyMemory<byte>.Empty };
        var expected = $"sha256:{Convert.ToHexStringLower(device.LoadedTable.Span)}";
        if (resume.Hash != expected)
        {
            Add(ImaDmTableChanged, resume, $"it is resumed with the table {resume.Hash ?? "that is none"}, and loaded was {expected}");
            return state.With(device, next with { Standing = DeviceMapperStanding.Refused });
        }

        if (device.Standing == DeviceMapperStanding.Refused)
        {
            Add(ImaDmTableNotAllowed, resume, "it is resumed with a table that was refused");
            return state.With(device, next);
        }

        return state.With(device, next with { Standing = DeviceMapperStanding.InOrder });
    }

    private DeviceMapperState Remove(DeviceMapperEvent read, DeviceMapperDevice device, DeviceMapperRule rule)
    {
        if (rule.AllowRemoval)
            return state.Without(device);
        Add(ImaDmChangeNotAllowed, read, $"it is removed, and rule '{rule.Name}' does not allow that");
        return Refuse(device);
    }

    private DeviceMapperState Clear(DeviceMapperEvent read, DeviceMapperDevice device, DeviceMapperRule rule)
    {
        if (!rule.AllowClear)
        {
            Add(ImaDmChangeNotAllowed, read, $"its table is cleared, and rule '{rule.Name}' does not allow that");
            return Refuse(device);
        }

        if (device.ActiveTable.IsEmpty)
            return state.Without(device); // no table is left of it
        return state.With(device, device with
        {
            LoadedTable = ReadOnlyMemory<byte>.Empty,
            Pending = ReadOnlyMemory<byte>.Empty,
            NextTarget = 0,
            Standing = device.Standing == DeviceMapperStanding.Waiting ? DeviceMapperStanding.InOrder : device.Standing,
        });
    }

    private DeviceMapperState Rename(DeviceMapperEvent.DeviceRename rename, DeviceMapperDevice device, DeviceMapperRule rule)
    {
        var next = device with { Name = rename.NewName, Uuid = rename.NewUuid };
        if (rename.NewName != rename.Name && !rule.NewName.Allows(rename.NewName))
            Add(ImaDmChangeNotAllowed, rename, $"its name becomes '{rename.NewName}', and rule '{rule.Name}' allows {rule.NewName}");
        if (rename.NewUuid != rename.Uuid && !rule.NewUuid.Allows(rename.NewUuid))
            Add(ImaDmChangeNotAllowed, rename, $"its uuid becomes '{rename.NewUuid}', and rule '{rule.Name}' allows {rule.NewUuid}");
        if (state.Devices.Any(other => other != device && (DeviceMapperState.Compare(other, next) == 0 || KeyOf(other) == KeyOf(next))))
        {
            Add(ImaDmOrder, rename, $"it becomes '{rename.NewName}', and another device is that already");
            return Refuse(device);
        }

        return state.With(device, _findings.Count > 0 ? next with { Standing = DeviceMapperStanding.Refused } : next);
    }

    private DeviceMapperState Update(DeviceMapperEvent.TargetUpdate update, DeviceMapperDevice device, DeviceMapperRule rule)
    {
        JudgeTarget(update, update.Target, rule);
        return _findings.Count > 0 ? Refuse(device) : state;
    }

    private static int Targets(DeviceMapperEvent.TableLoad load) =>
        int.TryParse(load.Device["num_targets"], out var number) ? number : throw new FormatException($"num_targets is {load.Device["num_targets"]}");

    private DeviceMapperDevice? Find(DeviceMapperEvent read) =>
        read is { Name: { } name, Uuid: { } uuid } ? state.Devices.FirstOrDefault(d => KeyOf(d) == policy.KeyOf(name, uuid)) : null;

    private string KeyOf(DeviceMapperDevice device) => policy.KeyOf(device.Name, device.Uuid);

    private DeviceMapperState Refuse(DeviceMapperDevice device) => state.With(device, device with { Standing = DeviceMapperStanding.Refused });

    private DeviceMapperStep Done(DeviceMapperState next) => new(next, _findings.DrainToImmutable());

    private void Add(string code, DeviceMapperEvent of, string what) =>
        _findings.Add(new Finding(code, $"device-mapper device '{PrintablePath.From(System.Text.Encoding.UTF8.GetBytes(of.Name ?? "of a name that is not measured"))}': {what}."));

    private static string Verb(DeviceMapperEvent read) => read switch
    {
        DeviceMapperEvent.DeviceResume => "it is resumed",
        DeviceMapperEvent.DeviceRemove => "it is removed",
        DeviceMapperEvent.TableClear => "its table is cleared",
        DeviceMapperEvent.DeviceRename => "it is renamed",
        _ => "a target changes",
    };
}
