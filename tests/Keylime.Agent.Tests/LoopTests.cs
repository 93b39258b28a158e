using System.Text.Json.Nodes;

namespace Keylime.Agent.Tests;

/// <summary>The loop goes on by itself, whatever goes wrong: the service, its memory, the token, the TPM.</summary>
public sealed class LoopTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_token_that_is_refused_is_renewed_at_once()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script { RefuseOnce = 401 };
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 3);
        Assert.Equal(2, service.Requests.Count(r => r is { Method: "POST", Path: "/v3.0/sessions" }));
        Assert.Equal(1, service.Requests.Count(r => r.Method == "PUT"));
    }

    [Fact]
    public async Task A_service_that_has_forgotten_it_is_registered_with_again()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script { RefuseOnce = 404 };
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 3);
        Assert.Equal(2, service.Requests.Count(r => r.Method == "PUT"));
        var keys = service.Requests.Where(r => r.Path.StartsWith("/v2.6", StringComparison.Ordinal) && r.Method == "POST").Select(r => r.Json["aik_tpm"]!.GetValue<string>());
        Assert.Single(keys.Distinct()); // with the same key
    }

    [Fact]
    public async Task Trouble_of_the_service_is_outlasted()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script { RefuseOnce = 503 };
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 3);
        Assert.Equal(1, service.Requests.Count(r => r is { Method: "POST", Path: "/v3.0/sessions" }));
    }

    [Fact]
    public async Task An_answer_that_is_none_is_outlasted()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script { RefuseOnce = 201 }; // created, with nothing in it
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 3);
    }

    [Fact]
    public async Task A_TPM_that_goes_away_is_opened_again()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script();
        var cycled = false;
        await using var service = await ScriptedService.StartAsync(received =>
        {
            if (script.Accepted == 1 && !cycled && received.Method == "POST")
            {
                cycled = true;
                rig.Swtpm.StopAsync(shutdown: false).GetAwaiter().GetResult();
                _ = Task.Run(async () =>
                {
                    await Task.Delay(300, Cancel);
                    await rig.Swtpm.PowerOnAsync(Cancel);
                }, Cancel);
            }

            return script.Answer(received);
        });
        await rig.RunUntilAsync(service, () => script.Accepted >= 3);
        Assert.True(cycled);
    }

    [Fact]
    public async Task Only_new_bytes_of_the_list_are_read_and_only_new_lines_sent()
    {
        await using var rig = await AgentRig.StartAsync(lines: 4000);
        var script = new Script { Offsets = [0, 4000, 4000] };
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 3);
        var lists = service.Requests.Where(r => r.Method == "PATCH" && r.Path.Contains("attestations", StringComparison.Ordinal))
            .Select(r => r.Json["data"]!["attributes"]!["evidence_collected"]![1]!["data"]!["entries"]!.GetValue<string>().Length).ToArray();
        Assert.Equal(new FileInfo(rig.ImaPath).Length, lists[0]);
        Assert.Equal([0, 0], lists[1..]);
    }

    [Fact]
    public async Task Evidence_goes_nowhere_else()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        await using var elsewhere = await ScriptedService.StartAsync(_ => Scripted.Json(202, "{}"));
        foreach (var location in (string[])["{0}evidence", "//{1}/evidence", "{2}/{1}/evidence", "/\\{1}/evidence"])
        {
            ScriptedService? service = null;
            var script = new Script { Location = () => string.Format(System.Globalization.CultureInfo.InvariantCulture, location, elsewhere.Url, elsewhere.Url.Authority, service!.Url) };
            await using (service = await ScriptedService.StartAsync(script.Answer))
                await rig.RunUntilAsync(service, () => script.Asked == 2);
            Assert.Empty(elsewhere.Requests);
        }
    }

    [Fact]
    public async Task A_redirect_is_not_followed()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        await using var elsewhere = await ScriptedService.StartAsync(_ => Scripted.Json(201, "{}"));
        var refused = 0;
        var script = new Script();
        await using var service = await ScriptedService.StartAsync(received =>
        {
            if (script.Accepted != 1 || refused == 3 || !received.Path.EndsWith("/attestations", StringComparison.Ordinal))
                return script.Answer(received);
            refused++;
            return Scripted.Json(307, "{}").With("Location", new Uri(elsewhere.Url, received.Path).ToString());
        });
        await rig.RunUntilAsync(service, () => script.Accepted == 2);
        Assert.Equal(3, refused);
        Assert.Empty(elsewhere.Requests);
    }

    [Fact]
    public async Task What_the_TPM_holds_after_a_stop_is_what_it_held_before()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script();
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 2);
        Assert.Empty((await rig.Swtpm.RunToolAsync("tpm2_getcap", "handles-transient")).Trim());
        Assert.Empty((await rig.Swtpm.RunToolAsync("tpm2_getcap", "handles-loaded-session")).Trim());
    }

    [Fact]
    public async Task Notices_come_with_answers_are_asked_for_where_more_wait_and_are_not_asked_for_without_a_key()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        using var notices = new NoticeRig();
        notices.Record("any");
        var script = new Script
        {
            // The start; sixteen, behind which more wait; nothing new.
            Meta = accepted => accepted switch
            {
                1 => ""","notices_next":3""",
                2 => $",\"notices\":[{string.Join(',', Enumerable.Range(4, 16).Select(i => $"\"{notices.Sign(i)}\""))}],\"notices_next\":19",
                _ => ""","notices":[],"notices_next":20""",
            },
        };
        await using var service = await ScriptedService.StartAsync(received => received is { Method: "GET", Path: $"/v3.0/agents/{AgentRig.Id}/notices" }
            ? Scripted.Json(200, $$"""{"notices":["{{notices.Sign(20)}}"],"next":20}""")
            : script.Answer(received));
        File.Copy(notices.Options.NoticeKeyPath, Path.Combine(rig.Home, "notice.pem"));
        await rig.RunUntilAsync(service, () => script.Accepted >= 4 && notices.Done.Length == 17, rig.Options(service.Url) with { NoticeKey = "notice.pem" }, notices.ActionFolder);
        var asked = service.Requests.Where(static r => r.Method == "PATCH" && r.Path.Contains("attestations", StringComparison.Ordinal)).ToArray();
        Assert.Equal((-1, 3), (asked[0].Json["meta"]!["notices_after"]!.GetValue<long>(), asked[1].Json["meta"]!["notices_after"]!.GetValue<long>()));
        Assert.Equal(20, asked[^1].Json["meta"]!["notices_after"]!.GetValue<long>());
        Assert.All(asked, static r => Assert.Equal(r.Body.Length, r.Length));
        var get = Assert.Single(service.Requests, static r => r.Method == "GET" && r.Path.EndsWith("notices", StringComparison.Ordinal));
        Assert.StartsWith("Bearer ", get.Authorization, StringComparison.Ordinal);
        Assert.Equal(Enumerable.Range(4, 17).Select(static i => $"any {NoticeRig.Json(i)}"), notices.Done);

        // Without a key nothing is asked for, and nothing that comes all the same is taken.
        await using var other = await AgentRig.StartAsync(lines: 2);
        var plain = new Script { Meta = script.Meta };
        await using var again = await ScriptedService.StartAsync(plain.Answer);
        await other.RunUntilAsync(again, () => plain.Accepted == 2, actions: notices.ActionFolder);
        Assert.All(again.Requests.Where(static r => r.Method == "PATCH"), static r => Assert.Null(r.Json["meta"]));
        Assert.False(File.Exists(Path.Combine(other.Home, "notices.json")));
        Assert.Equal(17, notices.Done.Length);
    }

    [Fact]
    public async Task What_is_asked_with_an_answer_is_answered_without_asking_and_the_token_lives_on()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script { Advances = true };
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 6);
        var posts = service.Requests.Where(static r => r.Method == "POST").Select(static r => r.Path).ToArray();
        Assert.Equal([$"/v2.6/agents/{AgentRig.Id}", "/v3.0/sessions", $"/v3.0/agents/{AgentRig.Id}/attestations"], posts); // once each, in six minutes
        var sent = service.Requests.Where(static r => r.Method == "PATCH" && r.Path.Contains("attestations", StringComparison.Ordinal)).ToArray();
        Assert.Equal(Enumerable.Range(1, 6).Select(static i => $"/v3.0/agents/{AgentRig.Id}/attestations/{i}"), sent.Select(static r => r.Path));
        Assert.All(sent, static r => Assert.True(r.Json["meta"]!["next_wanted"]!.GetValue<bool>()));
    }

    [Theory]
    [InlineData(403, "challenges_expired")]
    [InlineData(403, "old_attestation")]
    [InlineData(403, "evidence_immutable")]
    [InlineData(404, "not_found")]
    public async Task What_was_asked_too_long_ago_is_asked_anew_at_once(int status, string code)
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script { Advances = true, Refuses = sent => sent == 2 ? Scripted.Json(status, $$"""{"errors":[{"status":"{{status}}","code":"{{code}}","detail":"no"}]}""") : null };
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 3);
        Assert.Equal(2, service.Requests.Count(static r => r.Method == "POST" && r.Path.EndsWith("/attestations", StringComparison.Ordinal)));
        Assert.Equal(1, service.Requests.Count(static r => r is { Method: "POST", Path: "/v3.0/sessions" }));
    }

    [Fact]
    public async Task What_was_asked_in_advance_is_kept_for_another_token_and_for_a_service_that_is_not_ready()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        var script = new Script { Advances = true, Refuses = static sent => sent switch { 2 => Scripted.Json(401, "{}"), 4 => Scripted.Json(429, "{}").With("Retry-After", "3"), 5 => Scripted.Json(503, "{}").With("Retry-After", "3"), _ => null } };
        await using var service = await ScriptedService.StartAsync(script.Answer);
        await rig.RunUntilAsync(service, () => script.Accepted == 4);
        Assert.Equal(1, service.Requests.Count(static r => r.Method == "POST" && r.Path.EndsWith("/attestations", StringComparison.Ordinal)));
        Assert.Equal(2, service.Requests.Count(static r => r is { Method: "POST", Path: "/v3.0/sessions" }));
    }

    [Fact]
    public async Task What_is_asked_in_advance_of_another_service_is_not_answered()
    {
        await using var rig = await AgentRig.StartAsync(lines: 2);
        await using var elsewhere = await ScriptedService.StartAsync(_ => Scripted.Json(202, "{}"));
        foreach (var link in (string[])[new Uri(elsewhere.Url, "/evidence").ToString(), $"//{elsewhere.Url.Authority}/evidence", $"/\\{elsewhere.Url.Authority}/evidence", ":"])
        {
            var script = new Script { Advances = true };
            var lying = new Script { Advances = true, Location = () => link };
            await using var service = await ScriptedService.StartAsync(r => r.Method == "PATCH" && r.Path.Contains("attestations", StringComparison.Ordinal) ? lying.Answer(r) : script.Answer(r));
            await rig.RunUntilAsync(service, () => lying.Accepted == 2);
        }

        Assert.Empty(elsewhere.Requests);
    }

    /// <summary>A service as it should be, but for one answer.</summary>
    private sealed class Script
    {
        public int RefuseOnce { get; set; }

        public int[] Offsets { get; init; } = [0];

        public Func<string>? Location { get; init; }

        /// <summary>More members of an answer's <c>meta</c>, by how many were accepted.</summary>
        public Func<int, string> Meta { get; init; } = static _ => "";

        /// <summary>Whether it asks in advance, with each answer.</summary>
        public bool Advances { get; init; }

        /// <summary>What it says to evidence instead of taking it, by how many it was sent.</summary>
        public Func<int, Scripted?> Refuses { get; init; } = static _ => null;

        public int Sent { get; private set; }

        public int Asked { get; private set; }

        public int Accepted { get; private set; }

        public Scripted Answer(Received received)
        {
            switch (received.Method, received.Path)
            {
                case ("GET", "/version"):
                    return Scripted.Recorded(39);
                case ("POST", $"/v2.6/agents/{AgentRig.Id}"):
                    return Scripted.Json(200, AgentRig.Envelope(new JsonObject { ["blob"] = AgentRig.Blob(received) }).ToJsonString());
                case ("PUT", _):
                    return Scripted.Recorded(2);
                case ("POST", "/v3.0/sessions"):
                    return Scripted.Recorded(5);
                case ("PATCH", "/v3.0/sessions/9d9b248f-603b-4d22-8162-8aa6027ceddc"):
                    return Scripted.Recorded(6);
                case ("POST", _) when Accepted == 1 && RefuseOnce != 0:
                    var status = RefuseOnce;
                    RefuseOnce = 0;
                    return Scripted.Json(status, "{}");
                case ("POST", _):
                    Asked++;
                    var body = Wanted();
                    if (Advances)
                        body["meta"] = new JsonObject { ["next_offered"] = true };
                    return Scripted.Json(201, body.ToJsonString()).With("Location", Location?.Invoke() ?? $"/v3.0/agents/{AgentRig.Id}/attestations/{Asked}");
                default:
                    if (Refuses(++Sent) is { } refusal)
                        return refusal;
                    Accepted++;
                    if (Advances)
                    {
                        var next = Wanted()["data"]!.DeepClone();
                        next["links"] = new JsonObject { ["self"] = Location?.Invoke() ?? $"/v3.0/agents/{AgentRig.Id}/attestations/{++Asked}" };
                        var meta = new JsonObject { ["seconds_to_next_attestation"] = 60, ["next_attestation"] = next, ["seconds_to_token_expiry"] = 180 };
                        return Scripted.Json(202, new JsonObject { ["data"] = new JsonObject { ["type"] = "attestation", ["attributes"] = new JsonObject { ["evaluation"] = "pass" } }, ["meta"] = meta }.ToJsonString());
                    }

                    return Scripted.Json(202, """{"data":{"type":"attestation","attributes":{"stage":"evaluating_evidence","evidence":[]}},"meta":{"seconds_to_next_attestation":60META}}""".Replace("META", Meta(Accepted), StringComparison.Ordinal));
            }
        }

        private JsonNode Wanted()
        {
            var body = JsonNode.Parse(Scripted.Recorded(7).Body)!;
            var items = body["data"]!["attributes"]!["evidence_requested"]!.AsArray();
            items.RemoveAt(1); // no boot log
            items[1]!["chosen_parameters"]!["starting_offset"] = Offsets[Math.Min(Accepted, Offsets.Length - 1)];
            return body;
        }
    }
}
