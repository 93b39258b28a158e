using System.Text.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Demo;

/// <summary>What an operator's tool tells about the nodes.</summary>
internal sealed class Fleet(Programs programs)
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(400);

    /// <summary>Every state that a node was seen in, in order, without repetitions.</summary>
    public Dictionary<string, List<NodeState>> Seen { get; } = [];

    public IReadOnlyList<NodeSummary> Nodes { get; private set; } = [];

    public async Task LookAsync(CancellationToken cancel)
    {
        Nodes = (await AskAsync(ApiJson.Default.NodeList, cancel, "node", "list", "--json")).Nodes;
        foreach (var node in Nodes)
        {
            var name = node.Id.ToString();
            if (!Seen.TryGetValue(name, out var states))
                Seen[name] = states = [];
            if (states.Count == 0 || states[^1] != node.State)
                states.Add(node.State);
        }
    }

    public NodeState? StateOf(string name) => Nodes.FirstOrDefault(n => n.Id.ToString() == name)?.State;

    public Task<NodeDetails> ShowAsync(string name, CancellationToken cancel) =>
        AskAsync(ApiJson.Default.NodeDetails, cancel, "node", "show", name, "--json");

    /// <summary>Looks until it is so.</summary>
    public async Task WaitAsync(string what, TimeSpan atMost, Func<bool> condition, CancellationToken cancel)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            await LookAsync(cancel);
            if (condition())
                return;
            if (TimeProvider.System.GetElapsedTime(start) > atMost)
            {
                var states = string.Join("; ", Seen.Select(s => $"{s.Key}: {string.Join(", then ", s.Value)}").DefaultIfEmpty("no node"));
                throw new DemoException($"It was expected that {what}, within {atMost.TotalSeconds:0} s. What was seen is: {states}.");
            }

            await Task.Delay(Poll, TimeProvider.System, cancel);
        }
    }

    /// <summary>Makes a policy of a machine's own list, and admits it with that; waits for its agent to register.</summary>
    /// <param name="amend">Given the policy's path, before it is put.</param>
    public Task EnrolAsync(Machine machine, CancellationToken cancel, Func<string, Task>? amend = null) => EnrolAsync(machine.Name, machine.LogPath, cancel, amend: amend);

    /// <param name="listPath">The machine's measurement list; the policy is put beside it.</param>
    /// <param name="bootLogPath">The machine's boot log, where its boot is judged too.</param>
    public async Task EnrolAsync(string name, string listPath, CancellationToken cancel, string? bootLogPath = null, Func<string, Task>? amend = null)
    {
        const int conflict = 5; // what an agent that has not registered yet gets; everything else is an error
        var policy = Path.Combine(Path.GetDirectoryName(listPath)!, "policy.json");
        await DoAsync(cancel, "policy", "make", "--from-log", listPath, "--out", policy);
        await (amend?.Invoke(policy) ?? Task.CompletedTask);
        await DoAsync(cancel, "policy", "put", name, policy);
        List<string> enrol = ["node", "enrol", name, "--policy", name];
        if (bootLogPath is not null)
        {
            var (boot, bootPolicy) = ($"{name}-boot", Path.Combine(Path.GetDirectoryName(listPath)!, "boot.json"));
            await DoAsync(cancel, "policy", "create", "boot", bootLogPath, "--out", bootPolicy);
            await DoAsync(cancel, "policy", "put", boot, bootPolicy);
            enrol.AddRange(["--boot-policy", boot]);
        }

        for (var i = 0; ; i++)
        {
            var (exit, _, errors) = await programs.KeylimeAsync(cancel, enrol);
            if (exit == 0)
                return;
            if (exit != conflict || i == 60)
                throw new DemoException($"{name} could not be enrolled: {errors.Trim()}");
            await Task.Delay(250, cancel);
        }
    }

    /// <returns>The secret that its messages are signed with.</returns>
    public async Task<string> AddWebhookAsync(string name, string url, string events, CancellationToken cancel) =>
        (await AskAsync(ApiJson.Default.NamedWebhook, cancel, "webhook", "add", url, "--name", name, "--events", events, "--json")).Webhook.Secret
            ?? throw new DemoException("A new webhook should be told its secret.");

    /// <summary>Runs the operator's tool, and goes no further unless it succeeds.</summary>
    public async Task<string> DoAsync(CancellationToken cancel, params IReadOnlyList<string> args)
    {
        var (exit, output, errors) = await programs.KeylimeAsync(cancel, args);
        return exit == 0 ? output : throw new DemoException($"keylime {string.Join(' ', args)} ended with {exit}: {errors.Trim()}");
    }

    /// <summary>What a command of the operator's tool says in JSON.</summary>
    public async Task<T> AskAsync<T>(System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, CancellationToken cancel, params IReadOnlyList<string> args) =>
        JsonSerializer.Deserialize(await DoAsync(cancel, args), type) ?? throw new DemoException("The tool answered null.");
}
