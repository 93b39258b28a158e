using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Tests;

/// <summary>A large policy is compiled once, when it is put; and what is kept of that never says other than the policy's text.</summary>
public sealed class CompiledFormTests : IDisposable
{
    private const int Paths = 3_000; // more than CompiledForms.LeastText bytes

    private readonly string _folder = Directory.CreateTempSubdirectory("forms-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task An_instance_that_starts_judges_with_it_and_does_not_read_the_text()
    {
        await using var first = await TestService.StartAsync(folder: _folder);
        using var agent = await TestAgent.EnrolledAsync(first, "node");
        var own = JsonNode.Parse(await first.Operator.GetStringAsync(new Uri("/v1/policies/node", UriKind.Relative), Cancel))!;
        var text = Text(own["digests"]!.AsObject());
        (await first.Operator.SendAsync("PUT", "/v1/policies/node", text)).Expect(HttpStatusCode.OK);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());

        File.Delete(BlobOf(DigestOf(text)));
        await using var second = await TestService.StartAsync(folder: _folder, clock: first.Clock);
        using var there = agent.At(second);
        second.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await there.AuthenticateAsync();
        Assert.Equal("pass", (await there.AttestAsync())["evaluation"]!.GetValue<string>());
        await there.MeasureAsync("/usr/bin/evil");
        second.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var verdict = await there.AttestAsync();
        Assert.Equal(("fail", "ima.not_in_policy"), (verdict["evaluation"]!.GetValue<string>(), verdict["findings"]![0]!["code"]!.GetValue<string>()));
    }

    [Theory]
    [InlineData("no row")]
    [InlineData("no blob")]
    [InlineData("a damaged blob")]
    [InlineData("a row that somebody else wrote")]
    [InlineData("a row of another policy's form")]
    public async Task What_cannot_be_used_is_made_again_of_the_text(string instead)
    {
        var text = Text([]);
        var digest = DigestOf(text);
        await using (var first = await TestService.StartAsync(folder: _folder))
        {
            await PutAsync(first, "p", text);
            var rows = first.Get<IRecordStore<CompiledForm>>();
            var row = await RowAsync(first, digest);
            switch (instead)
            {
                case "no row":
                    Assert.True(await rows.TryDeleteAsync(row, Cancel));
                    break;
                case "no blob":
                    File.Delete(BlobOf(row.Value.Blob));
                    break;
                case "a damaged blob":
                    var bytes = await File.ReadAllBytesAsync(BlobOf(row.Value.Blob), Cancel);
                    bytes[^1000] ^= 1;
                    await File.WriteAllBytesAsync(BlobOf(row.Value.Blob), bytes, Cancel);
                    break;
                case "a row that somebody else wrote":
                    // It says of the text that it allows one path more.
                    Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(Text(new JsonObject { ["/usr/bin/evil"] = new JsonArray(new string('0', 64)) })), out var evil, out _));
                    var blob = await first.Get<IBlobStore>().PutAsync(evil.Compile(Convert.FromHexString(digest), null), Cancel);
                    Assert.True(await rows.TryReplaceAsync(row, row.Value with { Blob = blob }, Cancel));
                    break;
                default:
                    // What this service authenticated, under another key.
                    var other = Text(new JsonObject { ["/usr/bin/evil"] = new JsonArray(new string('0', 64)) });
                    await PutAsync(first, "other", other);
                    Assert.True(await rows.TryReplaceAsync(row, (await RowAsync(first, DigestOf(other))).Value with { Key = row.Value.Key }, Cancel));
                    break;
            }
        }

        await using (var second = await TestService.StartAsync(folder: _folder))
        {
            Assert.Equal(Paths, (await second.Get<CompiledPolicies>().FindRuntimeAsync(digest, Cancel))!.Paths);
        }

        // and from then on it is there again
        File.Delete(BlobOf(digest));
        await using var third = await TestService.StartAsync(folder: _folder);
        Assert.Equal(Paths, (await third.Get<CompiledPolicies>().FindRuntimeAsync(digest, Cancel))!.Paths);
    }

    [Fact]
    public async Task Whose_signature_it_has_decides_as_it_does_for_the_text()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var text = Text([]);
        Assert.True(DsseSigner.TryCreate(key.ExportPkcs8PrivateKeyPem(), "", out var signer, out _));
        string signed;
        using (signer)
            signed = Encoding.UTF8.GetString(DsseEnvelope.Sign(DsseEnvelope.RuntimePolicyType, Encoding.UTF8.GetBytes(text), signer));
        await using (var lenient = await TestService.StartAsync(folder: _folder))
        {
            using var approver = lenient.CreateClient(lenient.TokenOf("approver"));
            (await approver.SendAsync("PUT", "/v1/policy-signers/alice", key.ExportSubjectPublicKeyInfoPem(), "application/x-pem-file")).Expect(HttpStatusCode.OK);
            await PutAsync(lenient, "signed", signed);
            await PutAsync(lenient, "bare", text);
        }

        File.Delete(BlobOf(DigestOf(signed)));
        File.Delete(BlobOf(DigestOf(text)));
        await using var strict = await TestService.StartAsync(folder: _folder, configure: o => o with { RequireSignedPolicies = true });
        var policies = strict.Get<CompiledPolicies>();
        Assert.Null(await policies.FindRuntimeAsync(DigestOf(text), Cancel));
        Assert.Equal(["alice"], Assert.IsType<PolicyReading.Runtime>(await policies.ReadAsync(DigestOf(signed), Cancel)).Signers);

        using var there = strict.CreateClient(strict.TokenOf("approver"));
        Assert.Equal(HttpStatusCode.NoContent, (await there.SendAsync("DELETE", "/v1/policy-signers/alice")).Status);
        Assert.Null(await policies.FindRuntimeAsync(DigestOf(signed), Cancel));
    }

    [Fact]
    public async Task Policies_of_one_large_layer_hold_it_once()
    {
        await using var service = await TestService.StartAsync(folder: _folder);
        await PutAsync(service, "base", Text([]));
        foreach (var name in (string[])["one", "two", "three"])
        {
            await PutAsync(service, "own-" + name, $$$"""{"meta":{"version":1},"digests":{"/opt/{{{name}}}":["{{{new string('0', 64)}}}"]},"excludes":[],"ima":{"log_hash_alg":"sha1"}}""");
            await PutAsync(service, name, new JsonObject { ["layers"] = new JsonArray(new JsonObject { ["policy"] = "own-" + name }, new JsonObject { ["policy"] = "base" }) }.ToJsonString());
        }

        var before = service.Get<RecentPolicies>().Held;
        foreach (var name in (string[])["one", "two", "three"])
        {
            var digest = (await service.Get<IRecordStore<PolicyRecord>>().FindAsync(name, Cancel))!.Value.Digest!;
            Assert.Equal(Paths + 1, (await service.Get<CompiledPolicies>().FindRuntimeAsync(digest, Cancel))!.Paths);
        }

        var held = service.Get<RecentPolicies>().Held;
        var size = (await service.Get<CompiledPolicies>().FindRuntimeAsync(DigestOf(Text([])), Cancel))!.Size;
        Assert.InRange(held, size, 2 * size);
        Assert.InRange(held - before, 0, size);
        Assert.False(await service.Get<CompiledForms>().HasAsync((await service.Get<IRecordStore<PolicyRecord>>().FindAsync("one", Cancel))!.Value.Digest!, Cancel));
    }

    private string BlobOf(string digest) => Path.Combine(_folder, "blobs", digest);

    private static async Task PutAsync(TestService service, string name, string text) =>
        (await service.Operator.SendAsync("PUT", $"/v1/policies/{name}", text)).Expect(HttpStatusCode.Created);

    private static async Task<Stored<CompiledForm>> RowAsync(TestService service, string digest) =>
        (await service.Get<IRecordStore<CompiledForm>>().FindAsync(CompiledForm.KeyOf(digest, RuntimePolicy.CompiledVersion), Cancel))!;

    public static string Text(JsonObject more)
    {
        var digests = new JsonObject(Enumerable.Range(0, Paths).Select(i => KeyValuePair.Create(
            $"/usr/lib/x86_64-linux-gnu/package-{i % 50}/libexample-{i}.so", (JsonNode?)new JsonArray(Convert.ToHexStringLower(SHA256.HashData(BitConverter.GetBytes(i)))))));
        foreach (var (path, list) in more)
            digests[path] = list!.DeepClone();
        return new JsonObject
        {
            ["meta"] = new JsonObject { ["version"] = 1 },
            ["digests"] = digests,
            ["excludes"] = new JsonArray(),
            ["ima"] = new JsonObject { ["log_hash_alg"] = "sha1" },
        }.ToJsonString();
    }

    public static string DigestOf(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
}
