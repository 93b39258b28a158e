using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Fuzz;
using Keylime.Testing;
using Keylime.Tpm;
using SharpFuzz;

// One parser a target; afl-fuzz feeds it. Whatever the bytes are, a target gives a value or the one exception of its parser: everything else is a finding.
switch (args)
{
    case ["instrument", var assembly]:
        foreach (var type in Fuzzer.Instrument(assembly, static _ => true, Options.Value))
            Console.WriteLine(type);
        return 0;
    case ["seeds", var target, var folder] when Targets.All.ContainsKey(target):
        Directory.CreateDirectory(folder);
        foreach (var (seed, i) in Targets.SeedsOf(target).Select(static (s, i) => (s, i)))
            await File.WriteAllBytesAsync(Path.Combine(folder, $"seed{i}"), seed);
        return 0;
    case ["run", var target] when Targets.All.TryGetValue(target, out var parse):
        Fuzzer.OutOfProcess.Run(stream =>
        {
            using var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            parse(bytes.ToArray());
        });
        return 0;
    case ["list"]:
        Console.WriteLine(string.Join('\n', Targets.All.Keys));
        return 0;
    default:
        Console.Error.WriteLine("error: instrument ASSEMBLY, seeds TARGET FOLDER, run TARGET or list is expected");
        return 2;
}

namespace Keylime.Fuzz
{
    /// <summary>What is fuzzed, and the good input that it starts from.</summary>
    internal static class Targets
    {
        private static readonly string Evidence = Path.Combine(AppContext.BaseDirectory, "evidence");

        // Made by the first input, not before: what is instrumented runs in the fuzzer's loop only.
        private static readonly Lazy<Recorded> Loaded = new(static () => Recorded.Load(Evidence));
        private static readonly Lazy<PublicArea> Key = new(static () => Fixed(KeyTemplates.EkEccP256));

        private static readonly Lazy<VerifiedQuote> Quoted = new(static () => BootLogBuilder.Debian(TpmAlgorithm.Sha256).Prove(TpmAlgorithm.Sha256, new PcrSet(0xFF)));

        private static Recorded Case => Loaded.Value;

        private static PublicArea Ek => Key.Value;

        private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

        public static IReadOnlyDictionary<string, Action<byte[]>> All { get; } = new Dictionary<string, Action<byte[]>>
        {
            ["structures"] = Structures,
            ["responses"] = static bytes => Responses.Answer(bytes).GetAwaiter().GetResult(),
            ["certificates"] = Certificates,
            ["ima"] = static bytes => Judge(Case.Evidence with { ImaLines = bytes }),
            ["lists"] = static bytes => Judge(Case.Evidence with { ImaLines = bytes, ImaFormat = ImaListFormat.Binary }),
            ["states"] = ListTargets.States,
            ["members"] = ListTargets.Members,
            ["quotes"] = Quotes,
            ["policies"] = ListTargets.Policies,
            ["signatures"] = RuntimeTargets.Signatures,
            ["keys"] = RuntimeTargets.Keys,
            ["devices"] = RuntimeTargets.Devices,
            ["envelopes"] = RuntimeTargets.Envelopes,
            ["patterns"] = RuntimeTargets.Patterns,
            ["bootlogs"] = BootLogs,
            ["bootdata"] = BootEvents,
            ["bootpolicies"] = BootTargets.Policies,
            ["bootmakers"] = BootTargets.Makers,
        };

        public static IEnumerable<byte[]> SeedsOf(string target) => target switch
        {
            "structures" => [KeyTemplates.EkRsa2048.Encode(), KeyTemplates.EkEccP256.EncodeSized(), Read("ak.pub"), Read("message"), Read("signature"), Read("pcrs"), new CredentialBlob(new byte[40], new byte[256]).Encode(),
                KeyTemplates.Iak("H-3").Encode(), new SealedArea { AuthPolicy = new byte[32] }.Encode(),
                CertifyStatement.Encode(new byte[34], new byte[32], default, 1, new byte[34], new byte[34]), new TpmSignature.Ecdsa(TpmAlgorithm.Sha256, new byte[32], new byte[32]).Encode()],
            "responses" => Responses.Seeds(Read("ak.pub"), Read("message"), Read("signature")),
            "certificates" => [TestCertificates.Issue(Ek).RawData, [0x02, 0x10, .. TestCertificates.Issue(Ek).RawData, 0, 0], Encoding.ASCII.GetBytes(TestCertificates.Issue(Ek).ExportCertificatePem())],
            "ima" => [Read("list"), [.. Read("list").Take(600)]],
            "lists" => [ListTargets.Binary(Read("list")), [10, 0, 0, 0, .. new byte[20], 3, 0, 0, 0, .. "ima"u8, .. new byte[20], 2, 0, 0, 0, .. "/x"u8]],
            "states" => [ImaState.Empty.Encode(), (ImaState.Empty with { Violations = 3, BudgetSpent = 2 }).Encode()],
            "members" => ListTargets.MemberSeeds(Read("list")),
            "bootlogs" => [BootLogBuilder.Debian(TpmAlgorithm.Sha1, TpmAlgorithm.Sha256).Build(), BootLogBuilder.Debian().Build()],
            "bootdata" => [.. BootLogBuilder.Debian(TpmAlgorithm.Sha256).Events.DistinctBy(static e => e.Type).Select(static e => (byte[])[.. BootData.U32(e.Type), .. e.Data])],
            "signatures" or "keys" or "devices" or "envelopes" or "patterns" => RuntimeTargets.SeedsOf(target),
            "bootpolicies" or "bootmakers" => BootTargets.SeedsOf(target),
            "quotes" => [Join(Read("message"), Read("signature"), Read("pcrs"))],
            _ => [Read("policy.json"), Encoding.ASCII.GetBytes("""{"meta":{"version":1},"release":0,"digests":{"/a":["00"]},"excludes":["a(b|c)*"],"keyrings":{},"ima":{"ignored_keyrings":[],"log_hash_alg":"sha1"},"ima-buf":{},"verification-keys":""}""")],
        };

        private static void Structures(byte[] bytes)
        {
            if (PublicArea.TryParse(bytes, out var area))
            {
                // no two encodings of one structure
                if (!area.Encode().AsSpan().SequenceEqual(bytes) && !area.EncodeSized().AsSpan().SequenceEqual(bytes))
                    throw new InvalidOperationException("malleable");
                if (AttestationKey.TryCreate(area, out var key, out _))
                    key.Dispose();
                _ = EndorsementKeys.Objection(area);
            }

            _ = QuoteStatement.TryParse(bytes, out _);
            _ = CertifyStatement.TryParse(bytes, out _);
            _ = TpmSignature.TryParse(bytes, out _);
            Tolerate(() => PcrBlob.Parse(bytes));
            Tolerate(() => CredentialBlob.Parse(bytes));
            Tolerate(() => SealedArea.Parse(bytes));
        }

        private static void Certificates(byte[] bytes)
        {
            Tolerate(() => NvCertificates.Split(bytes));
            var text = bytes is [(byte)'-', ..] ? Encoding.UTF8.GetString(bytes) : Convert.ToBase64String(bytes);
            _ = EndorsementKeys.Check(Ek, text, [TestCertificates.Root], Now);
        }

        private static void BootLogs(byte[] bytes)
        {
            if (!BootLog.TryParse(bytes, out var log, out _))
                return;
            if (!BootLogBuilder.From(log).Build().AsSpan().SequenceEqual(bytes))
                throw new InvalidOperationException("malleable");
            foreach (var one in log.Events)
                _ = one.UntrustedData.ToString();
            if (log.Banks.Contains(TpmAlgorithm.Sha256))
                _ = BootReplay.Replay(log, Quoted.Value, Quoted.Value.Pcrs.Covered);
        }

        // A type, and data for it.
        private static void BootEvents(byte[] bytes)
        {
            if (bytes.Length >= sizeof(uint))
                BootLogs(new BootLogBuilder(TpmAlgorithm.Sha256).Add(bytes[0] % 16, BitConverter.ToUInt32(bytes), bytes.AsSpan(sizeof(uint))).Build());
        }

        private static void Quotes(byte[] bytes)
        {
            // three parts, each with its length in front
            var reader = new TpmReader(bytes);
            try
            {
                var (message, signature, pcrs) = (reader.ReadSized().ToArray(), reader.ReadSized().ToArray(), reader.ReadSized().ToArray());
                Judge(Case.Evidence with { Quote = new QuoteEvidence(message, signature, pcrs) });
            }
            catch (TpmFormatException)
            {
                // not even three parts
            }
        }

        // The outermost loop of judging makes a finding of any exception: here that is a bug.
        private static void Judge(Evidence evidence)
        {
            var verdict = Appraisal.Appraise(Case.Request, evidence);
            if (verdict.Findings.FirstOrDefault(static f => f.Code == FindingCodes.AppraisalError) is { } bug)
                throw new InvalidOperationException(bug.Detail);
        }

        private static void Tolerate<T>(Func<T> parse)
        {
            try
            {
                parse();
            }
            catch (TpmFormatException)
            {
                // the one exception
            }
        }

        private static byte[] Read(string name) => File.ReadAllBytes(Path.Combine(Evidence, name));

        private static byte[] Join(params byte[][] parts) => [.. parts.SelectMany(static p => (byte[])[(byte)(p.Length >> 8), (byte)(p.Length & 0xFF), .. p])];

        // A key that is the same in every run: what is found can be found again.
        private static PublicArea.Ecc Fixed(PublicArea template)
        {
            var g = System.Security.Cryptography.ECCurve.NamedCurves.nistP256;
            using var key = System.Security.Cryptography.ECDsa.Create(new System.Security.Cryptography.ECParameters { Curve = g, D = [.. Enumerable.Range(1, 32).Select(static i => (byte)i)] });
            var q = key.ExportParameters(false).Q;
            return new PublicArea.Ecc
            {
                NameAlgorithm = template.NameAlgorithm,
                Attributes = template.Attributes,
                AuthPolicy = template.AuthPolicy,
                Symmetric = template.Symmetric,
                Curve = TpmCurve.NistP256,
                X = q.X,
                Y = q.Y,
            };
        }
    }

    /// <summary>The recorded attestation that passes.</summary>
    internal sealed record Recorded(AppraisalRequest Request, Evidence Evidence)
    {
        public static Recorded Load(string folder)
        {
            byte[] Read(string name) => File.ReadAllBytes(Path.Combine(folder, name));
            var about = JsonNode.Parse(Read("case.json"))!;
            if (!AttestationKey.TryCreate(PublicArea.Parse(Read("ak.pub")), out var key, out var refusal))
                throw new InvalidDataException(refusal.Detail);
            if (!RuntimePolicy.TryParse(Read("policy.json"), out var policy, out var error))
                throw new InvalidDataException(error);
            var asked = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of([.. about["pcrs"]!.AsArray().Select(static p => p!.GetValue<int>())]));
            return new Recorded(
                new AppraisalRequest
                {
                    Key = key,
                    Quote = new QuoteRequest(Convert.FromHexString(about["nonce"]!.GetValue<string>()), asked, key.Scheme),
                    Identity = IdentityLevel.EndorsementKey,
                    Runtime = policy,
                    At = new DateTimeOffset(2026, 11, 24, 12, 0, 0, TimeSpan.Zero),
                },
                new Evidence(new QuoteEvidence(Read("message"), Read("signature"), Read("pcrs")), Read("list")));
        }
    }
}
