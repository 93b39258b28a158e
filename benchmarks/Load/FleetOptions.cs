using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Load;

/// <summary>What fleet is simulated, and where.</summary>
internal sealed record FleetOptions
{
    public const string Usage = """
        usage: benchmarks/fleet [--nodes N] [--interval S] [--for T] …

          --nodes N        machines that attest (default 300)
          --interval S     seconds from one attestation of a machine to the next (default 1)
          --for T          seconds that count (default 20)
          --warm W         seconds before them, which do not, at a slower pace (default 45: so long it takes until the runtime has compiled all that is hot)
          --delta L        new lines in a machine's list at each attestation (default 0)
          --format F       of these lines: gzip, raw or plain (default gzip, as our agent's)
          --algorithm A    of attestation keys: rsa2048, rsa2048-pss or ecdsa-p256 (default rsa2048)
          --keys K         different keys; machines share them where they are fewer than machines (default 64 of RSA, all of ECDSA)
          --enrolled M     nodes in the store, those that do not attest among them; wants --seed-store (default N)
          --policy D       files that the runtime policy allows (default 20,000)
          --connections C  at a time (default 64)
          --handshakes     a connection for each request, and none kept
          --one-trip       uses the challenge that came with the last answer, where there was one
          --seed-store     puts the nodes into the store instead of enrolling them by the protocol
          --core N         binds the service to that core, and this program to the others
          --azurite        the service keeps its rows in an emulator of Azure Storage, and each request to that is counted
          --url U --ca FILE --token-file FILE   a service that runs already, its CA, and an operator's token
        """;

    private static readonly string[] Known = ["--nodes", "--interval", "--for", "--warm", "--delta", "--format", "--algorithm", "--keys", "--enrolled", "--policy", "--connections", "--core", "--url", "--ca", "--token-file"];
    private static readonly string[] Switches = ["--handshakes", "--one-trip", "--seed-store", "--azurite"];

    public int Nodes { get; init; } = 300;

    public int Interval { get; init; } = 1;

    public TimeSpan Length { get; init; } = TimeSpan.FromSeconds(20);

    public TimeSpan Warm { get; init; } = TimeSpan.FromSeconds(45);

    public int NewLines { get; init; }

    /// <summary>In which lists are offered and sent.</summary>
    public string Format { get; init; } = ChosenParameters.Gzip;

    public TpmAlgorithm Scheme { get; init; } = TpmAlgorithm.RsaSsa;

    public int? Keys { get; init; }

    public int? Enrolled { get; init; }

    public int PolicyFiles { get; init; } = 20_000;

    public int Connections { get; init; } = 64;

    public bool Handshakes { get; init; }

    public bool OneTrip { get; init; }

    public bool Seed { get; init; }

    public int? Core { get; init; }

    public bool Azurite { get; init; }

    /// <summary>A service that runs already; null for one of our own.</summary>
    public Uri? Url { get; init; }

    public string? CaPath { get; init; }

    public string? TokenPath { get; init; }

    /// <summary>Attestations that are due in a second.</summary>
    public double PerSecond => (double)Nodes / Interval;

    /// <exception cref="BenchmarkException">They are not as they should be.</exception>
    public static FleetOptions Read(ReadOnlySpan<string> args)
    {
        var given = new Arguments(args, Known, Switches);
        var options = new FleetOptions
        {
            Nodes = given.Number("--nodes", 300, 1, 1_000_000),
            Interval = given.Number("--interval", 1, 1, 86_400),
            Length = TimeSpan.FromSeconds(given.Number("--for", 20, 1, 86_400)),
            Warm = TimeSpan.FromSeconds(given.Number("--warm", 45, 0, 3600)),
            NewLines = given.Number("--delta", 0, 0, 1_000_000),
            Format = given.Text("--format") switch
            {
                null or "gzip" => ChosenParameters.Gzip,
                "raw" => ChosenParameters.OctetStream,
                "plain" => ChosenParameters.PlainText,
                var other => throw new BenchmarkException($"--format: '{other}' is none of gzip, raw, plain."),
            },
            Scheme = given.Text("--algorithm") switch
            {
                null or "rsa2048" => TpmAlgorithm.RsaSsa,
                "rsa2048-pss" => TpmAlgorithm.RsaPss,
                "ecdsa-p256" => TpmAlgorithm.Ecdsa,
                var other => throw new BenchmarkException($"--algorithm: '{other}' is none of rsa2048, rsa2048-pss, ecdsa-p256."),
            },
            Keys = given.Has("--keys") ? given.Number("--keys", 0, 1, 1_000_000) : null,
            Enrolled = given.Has("--enrolled") ? given.Number("--enrolled", 0, 1, 10_000_000) : null,
            PolicyFiles = given.Number("--policy", 20_000, 1, 2_000_000),
            Connections = given.Number("--connections", 64, 1, 20_000),
            Handshakes = given.Has("--handshakes"),
            OneTrip = given.Has("--one-trip"),
            Seed = given.Has("--seed-store"),
            Core = given.Has("--core") ? given.Number("--core", 0, 0, 1023) : null,
            Azurite = given.Has("--azurite"),
            Url = given.Text("--url") is { } url ? Uri.TryCreate(url, UriKind.Absolute, out var absolute) ? absolute : throw new BenchmarkException($"--url: '{url}' is no URL.") : null,
            CaPath = given.Text("--ca"),
            TokenPath = given.Text("--token-file"),
        };
        if (options.Url is null != options.CaPath is null || options.Url is null != options.TokenPath is null)
            throw new BenchmarkException("--url, --ca and --token-file belong together.");
        if (options.Url is not null && (options.Seed || options.Azurite || options.Core is not null))
            throw new BenchmarkException("--seed-store, --azurite and --core are for a service that is started here, not for one at --url.");
        if (options.Enrolled is not null && !options.Seed)
            throw new BenchmarkException("--enrolled wants --seed-store.");
        if (options.Enrolled < options.Nodes)
            throw new BenchmarkException($"--enrolled: {options.Enrolled} are fewer than the {options.Nodes} that attest.");
        if (!options.Seed && options.Keys < options.Nodes)
            throw new BenchmarkException("--keys: machines that share a key can only be seeded; the registrar takes an endorsement key once.");
        return options;
    }
}
