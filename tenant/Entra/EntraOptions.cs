using System.CommandLine;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant.Entra;

/// <summary>The options of <c>keylime login --entra</c>. Where the service says itself where to sign in, none of them is needed.</summary>
internal sealed class EntraOptions
{
    private readonly Option<bool> _entra = new("--entra") { Description = "Sign in with Microsoft Entra ID, by a code that you enter in a browser." };
    private readonly Option<bool> _machine = new("--managed-identity") { Description = "With --entra: as the managed identity of this machine or app on Azure." };
    private readonly Option<bool> _workload = new("--workload-identity") { Description = "With --entra: by the token in AZURE_FEDERATED_TOKEN_FILE (workload identity federation)." };
    private readonly Option<string?> _tenant = new("--tenant") { Description = "With --entra: the directory's GUID; what the service says if left out." };
    private readonly Option<string?> _client = new("--client-id") { Description = "With --entra: the application to sign in with; of a managed identity, which of several." };
    private readonly Option<string?> _scope = new("--scope") { Description = "With --entra: what the token is for, …/.default." };
    private readonly Option<string?> _authority = new("--authority") { Description = "With --entra: another cloud than https://login.microsoftonline.com." };

    public IEnumerable<Option> All => [_entra, _machine, _workload, _tenant, _client, _scope, _authority];

    public bool IsAsked(ParseResult parsed)
    {
        var (entra, ways) = (parsed.GetValue(_entra), (parsed.GetValue(_machine) ? 1 : 0) + (parsed.GetValue(_workload) ? 1 : 0));
        if (ways > 1)
            throw new CliException(Exits.Usage, "--managed-identity and --workload-identity are two ways", "one of them, or none for a code in a browser");
        if (!entra && (ways > 0 || All.Skip(3).OfType<Option<string?>>().Any(option => parsed.GetValue(option) is not null)))
            throw new CliException(Exits.Usage, "--entra is missing", "keylime login --entra --url URL");
        return entra;
    }

    /// <summary>Signs in.</summary>
    /// <param name="at">The service, which is asked without a token where to sign in.</param>
    public async Task<EntraLogin> SignInAsync(Surroundings surroundings, ParseResult parsed, Login at, CancellationToken cancel)
    {
        var way = parsed.GetValue(_machine) ? EntraWay.ManagedIdentity : parsed.GetValue(_workload) ? EntraWay.Workload : EntraWay.DeviceCode;
        var where = await WhereAsync(surroundings, parsed, way, at, cancel);
        using var client = new EntraClient(surroundings, way);
        if (way != EntraWay.DeviceCode)
            return await client.RenewAsync(new EntraLogin(way, where), cancel);
        surroundings.Error.WriteLine($"Signing in at {where.Authority.Host}, directory {PlainText.From(where.Tenant)}, for {at.Url}");
        return await client.SignInAsync(where, surroundings.Error.WriteLine, cancel);
    }

    // What was given goes before what the environment says, and that before what the service says.
    private async Task<EntraSignIn> WhereAsync(Surroundings surroundings, ParseResult parsed, EntraWay way, Login at, CancellationToken cancel)
    {
        var (tenant, client, scope) = (parsed.GetValue(_tenant), parsed.GetValue(_client), parsed.GetValue(_scope));
        var authority = parsed.GetValue(_authority) is { } text ? Login.ParseUrl(text, "--authority") : null;
        if (way == EntraWay.Workload)
            (tenant, client) = (tenant ?? surroundings.Variable(WorkloadVariables.TenantId), client ?? surroundings.Variable(WorkloadVariables.ClientId));
        if (way == EntraWay.ManagedIdentity)
            client ??= "";
        if (tenant is null || client is null || scope is null)
        {
            using var api = new ServiceApi(at);
            if ((await api.GetAsync("/v1/sign-in", ApiJson.Default.SignInMessage, cancel)).Entra is not { } told)
                throw new CliException(Exits.Refused, $"{at.Url} takes no tokens of Entra ID", "its settings --entra-tenant and --entra-audience turn that on; or keylime login --token-file FILE");
            (tenant, client, scope, authority) = (tenant ?? told.Tenant, client ?? told.ClientId, scope ?? told.Scope, authority ?? told.Authority);
        }

        return new EntraSignIn(authority ?? new Uri("https://login.microsoftonline.com"), tenant, client, scope);
    }
}
