using System.Net;
using System.Text.Json.Nodes;
using Keylime.Testing;

namespace Keylime.Functions.Tests;

/// <summary>A push agent of a service in this process.</summary>
internal sealed class TestAgent : WireAgent
{
    private TestAgent? _withNewKey;

    private TestAgent(TestAgent other, TestService service, SoftwareTpm tpm)
        : base(other, tpm) => Service = service;

    public TestAgent(TestService service, string id, SoftwareTpm? tpm = null)
        : base(id, tpm) => Service = service;

    public TestService Service { get; }

    /// <summary>Puts other lines in the list's place; the PCR stays.</summary>
    public Task WriteListAsync(byte[] list) => File.WriteAllBytesAsync(ImaPath, list, Cancel);

    protected override CancellationToken Cancel => TestContext.Current.CancellationToken;

    protected override Task<Reply> SendAsync(string method, string path, object? body, string contentType, string? token = null) =>
        Service.Anonymous.SendAsync(method, path, body, contentType, token);

    /// <summary>Registered, activated, enrolled with a policy that allows its list, and with a session.</summary>
    public static async Task<TestAgent> EnrolledAsync(TestService service, string id, SoftwareTpm? tpm = null)
    {
        var agent = new TestAgent(service, id, tpm);
        await agent.Ima.StartAsync(agent.Cancel);
        for (var i = 0; i < 5; i++)
            await agent.MeasureAsync($"/usr/bin/tool{i}");
        await agent.RegisterAsync();
        await agent.PutPolicyAsync();
        (await service.Operator.SendAsync("PUT", $"/v1/nodes/{id}", new JsonObject { ["runtimePolicy"] = id })).Expect(HttpStatusCode.Created);
        await agent.AuthenticateAsync();
        return agent;
    }

    public TestAgent At(TestService service) => new(this, service, Tpm);

    /// <summary>The same machine and TPM with another attestation key; the same one each time.</summary>
    public TestAgent WithNewKey() => _withNewKey ??= new(this, Service, Tpm.WithNewAttestationKey());

    /// <summary>Registered, activated and enrolled, with a policy that allows its list.</summary>
    public async Task EnrolAsync(int? interval = null)
    {
        await RegisterAsync();
        await PutPolicyAsync();
        (await Service.Operator.SendAsync("PUT", $"/v1/nodes/{Id}", new JsonObject { ["runtimePolicy"] = Id, ["intervalSeconds"] = interval })).Expect(HttpStatusCode.Created);
    }

    /// <summary>The machine goes down and comes up again: another list, other clocks.</summary>
    public async Task RebootAsync()
    {
        Tpm.Reset();
        File.Delete(ImaPath);
        BootTime = BootTime.AddHours(5);
        await Ima.StartAsync(Cancel);
    }

    /// <summary>Opens an attestation, and says that it cannot be done.</summary>
    public async Task<HttpStatusCode> ReportErrorAsync(TestService service)
    {
        using var here = At(service);
        var (session, challenge) = await here.OpenSessionAsync();
        var proof = await here.ProveAsync(session, here.Proof(challenge));
        if (proof.Status != HttpStatusCode.OK)
            return proof.Status;
        here.Token = proof.Json["data"]!["attributes"]!["token"]!.GetValue<string>();
        var asked = await here.AskAsync();
        return asked.Status != HttpStatusCode.Created
            ? asked.Status
            : (await service.Anonymous.SendAsync("PATCH", asked.Location!, Document("error", []), Http.JsonApi, here.Token)).Status;
    }

    /// <summary>Its registration, as a program would write it that this one does not know yet.</summary>
    public async Task<Storage.Registration> FromTheFutureAsync()
    {
        await RegisterAsync();
        var known = (await Service.Get<Storage.IRecordStore<Storage.Registration>>().FindAsync(Id, Cancel))!.Value;
        return known with { Id = Protocol.AgentId.Parse("future"), Schema = Storage.Registration.CurrentSchema + 1 };
    }

    public async Task RegisterOnlyAsync() => (await Service.Anonymous.SendAsync("POST", $"/v2.6/agents/{Id}", Registration())).Expect(HttpStatusCode.OK);

    /// <returns>Whether all of it succeeded.</returns>
    public async Task<bool> RegisterAsync(TestService service)
    {
        var reply = await service.Anonymous.SendAsync("POST", $"/v2.6/agents/{Id}", Registration());
        return reply.Status == HttpStatusCode.OK
            && (await service.Anonymous.SendAsync("PUT", $"/v2.6/agents/{Id}", new JsonObject { ["auth_tag"] = Tag(reply.Json["results"]!["blob"]!.GetValue<string>()) })).Status == HttpStatusCode.OK;
    }

    /// <summary>Puts the endorsement key on the operator's list.</summary>
    public async Task ListKeyAsync() => (await Service.Operator.SendAsync("POST", "/v1/known-keys", new JsonObject
    {
        ["keys"] = new JsonArray(new JsonObject { ["hash"] = EndorsementKeyHash }),
    })).Expect(HttpStatusCode.OK);

    public string EndorsementKeyHash => Convert.ToHexStringLower(Attestation.EndorsementKeys.SpkiHash(Tpm.EndorsementKey));

    /// <summary>A session and an attestation; one that is not due yet counts as done.</summary>
    /// <returns>Whether all of it succeeded.</returns>
    public async Task<bool> AttestAtAsync(TestService service)
    {
        using var here = At(service);
        var (session, challenge) = await here.OpenSessionAsync();
        var proof = await here.ProveAsync(session, here.Proof(challenge));
        if (proof.Status != HttpStatusCode.OK)
            return false;
        here.Token = proof.Json["data"]!["attributes"]!["token"]!.GetValue<string>();
        var asked = await here.AskAsync();
        if (asked.Status == HttpStatusCode.TooManyRequests)
            return true;
        return asked.Status == HttpStatusCode.Created && (await here.SubmitAsync(Read(asked), here.Collect(Read(asked)))).Status == HttpStatusCode.Accepted;
    }

    /// <summary>What the last answer asked in advance, if it was kept.</summary>
    public Asked? AskedInAdvance { get; set; }

    /// <summary>Answers what was asked in advance at another process; where that is over, it asks anew, as the agent does.</summary>
    /// <returns>True where its evidence was accepted.</returns>
    public async Task<bool> GoOnAtAsync(TestService service)
    {
        using var here = At(service);
        here.Token = Token;
        return (await here.SubmitAndGoOnAsync(AskedInAdvance!, here.Collect(AskedInAdvance!))).Status switch
        {
            HttpStatusCode.Accepted => true,
            HttpStatusCode.Forbidden => await AttestAtAsync(service),
            _ => false,
        };
    }

    /// <summary>A new boot: the list starts anew.</summary>
    public async Task RestartImaAsync()
    {
        File.Delete(ImaPath);
        await Ima.StartAsync(Cancel);
    }

    /// <summary>A policy that allows exactly what is in the list now.</summary>
    public async Task PutPolicyAsync() => Assert.True(await TryPutPolicyAsync(Service));

    public async Task<bool> TryPutPolicyAsync(TestService service) =>
        (await service.Operator.SendAsync("PUT", $"/v1/policies/{Id}", Policy())).Status is HttpStatusCode.Created or HttpStatusCode.OK;

    public async Task<JsonNode> NodeAsync() => (await Service.Operator.SendAsync("GET", $"/v1/nodes/{Id}")).Expect(HttpStatusCode.OK);

    /// <summary>Time goes by, for the service and for the TPM.</summary>
    public void Wait(TimeSpan time)
    {
        Service.Clock.Advance(time);
        Tpm.Clock = Tpm.Clock with { Milliseconds = Tpm.Clock.Milliseconds + (ulong)time.TotalMilliseconds };
    }

    protected override void Dispose(bool disposing)
    {
        _withNewKey?.Tpm.Dispose();
        base.Dispose(disposing);
    }
}
