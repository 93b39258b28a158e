using k8s;
using k8s.Models;
using YamlDotNet.RepresentationModel;

namespace Keylime.Architecture.Tests;

/// <summary>
/// The manifests of Kubernetes, read by its own types, which take no name that they do not know; and rules that hold for what runs, each of which is shown to fail.
/// Whether a cluster would take them is not tried here; that the programs start with these rights is, by <c>infra/container/check</c>.
/// </summary>
public sealed class KubernetesTests
{
    private static readonly string Folder = Path.Combine(Checkout.Root, "infra", "kubernetes");

    [Fact]
    public void Every_manifest_is_what_Kubernetes_knows_and_the_kustomization_has_them_all()
    {
        var kustomization = Mapping(Path.Combine(Folder, "kustomization.yaml"));
        var named = Scalars(kustomization, "resources").Order(StringComparer.Ordinal);
        Assert.Equal(Directory.EnumerateFiles(Folder, "*.yaml").Select(Path.GetFileName).Where(static f => f != "kustomization.yaml").Order(StringComparer.Ordinal), named);
        foreach (var generator in ((YamlSequenceNode)kustomization["configMapGenerator"]).Cast<YamlMappingNode>())
        {
            foreach (var file in (generator.Children.ContainsKey("envs") ? Scalars(generator, "envs") : Scalars(generator, "files")).Where(static f => f != "ca.pem"))
                Assert.True(File.Exists(Path.Combine(Folder, file)), file);
        }

        // What is mounted or read is made, and where: else a pod waits for ever.
        var made = ((YamlSequenceNode)kustomization["configMapGenerator"]).Cast<YamlMappingNode>().Select(static g => $"{g["namespace"]}/{g["name"]}").ToHashSet();
        foreach (var (_, at, pod) in Pods(Load()))
        {
            var maps = pod.Containers.SelectMany(static c => c.EnvFrom ?? []).Select(static e => e.ConfigMapRef.Name).Concat((pod.Volumes ?? []).Select(static v => v.ConfigMap?.Name).OfType<string>());
            Assert.All(maps, m => Assert.Contains($"{at}/{m}", made));
            Assert.Contains(Load().OfType<V1ServiceAccount>(), a => a.Metadata.Name == pod.ServiceAccountName && a.Metadata.NamespaceProperty == at);
        }

        var broken = File.ReadAllText(Path.Combine(Folder, "service.yaml")).Replace("readOnlyRootFilesystem", "readOnlyRootFileSystem", StringComparison.Ordinal);
        Assert.ThrowsAny<YamlDotNet.Core.YamlException>(() => KubernetesYaml.LoadAllFromString(broken, strict: true));
    }

    [Fact]
    public void What_runs_has_the_rights_that_it_needs_and_each_check_of_that_can_fail()
    {
        Assert.Empty(Objections(Load()));
        (string Words, Action<List<object>> Alter)[] mistakes =
        [
            ("privileged", static all => Container(all, "keylime-agent").SecurityContext.Privileged = true),
            ("more rights", static all => Container(all, "keylime-service").SecurityContext.AllowPrivilegeEscalation = null),
            ("a capability", static all => Container(all, "keylime-agent").SecurityContext.Capabilities.Add = ["SYS_ADMIN"]),
            ("a capability", static all => Container(all, "keylime-service").SecurityContext.Capabilities = null),
            ("root file system", static all => Container(all, "keylime-agent").SecurityContext.ReadOnlyRootFilesystem = false),
            ("seccomp", static all => Pod(all, "keylime-service").SecurityContext.SeccompProfile = null),
            ("token of Kubernetes", static all => Pod(all, "keylime-agent").AutomountServiceAccountToken = null),
            ("namespaces of the node", static all => Pod(all, "keylime-agent").HostNetwork = true),
            ("namespaces of the node", static all => Pod(all, "keylime-agent").HostPID = true),
            ("memory", static all => Container(all, "keylime-service").Resources.Limits.Clear()),
            ("its node's files", static all => Pod(all, "keylime-service").Volumes.Add(new V1Volume { Name = "x", HostPath = new V1HostPathVolumeSource { Path = "/var" } })),
            ("its node's files", static all => Pod(all, "keylime-agent").Volumes.Add(new V1Volume { Name = "x", HostPath = new V1HostPathVolumeSource { Path = "/etc" } })),
            ("can be written", static all => Container(all, "keylime-agent").VolumeMounts.Single(static m => m.Name == "securityfs").ReadOnlyProperty = null),
            ("as root", static all => Pod(all, "keylime-service").SecurityContext.RunAsNonRoot = null),
            ("user of the image", static all => Pod(all, "keylime-service").SecurityContext.RunAsUser = 1000),
            ("restricted", static all => all.OfType<V1Namespace>().Single(static n => n.Metadata.Name == "keylime").Metadata.Labels.Clear()),
            ("talks to", static all => all.RemoveAll(static o => o is V1NetworkPolicy p && p.Metadata.Name == "keylime-agent")),
            ("talks to", static all => all.OfType<V1NetworkPolicy>().First().Spec.PolicyTypes = ["Ingress"]),
            ("listens", static all => Container(all, "keylime-agent").Ports = [new V1ContainerPort { ContainerPort = 9002 }]),
            ("identity of its node", static all => all.OfType<V1NetworkPolicy>().First().Spec.Egress.SelectMany(static e => e.To ?? []).First().IpBlock.Except = null),
            ("one instance", static all => all.OfType<V1Deployment>().Single().Spec.Replicas = 1),
            ("one instance", static all => all.OfType<V1PodDisruptionBudget>().Single().Spec.MinAvailable = "3"),
            ("/health", static all => Container(all, "keylime-service").ReadinessProbe.HttpGet.Scheme = "HTTP"),
            ("/health", static all => Container(all, "keylime-service").StartupProbe = null),
            ("restart", static all => Container(all, "keylime-service").LivenessProbe.HttpGet.Path = "/health"),
            ("selects nothing", static all => all.OfType<V1Service>().Single().Spec.Selector["app.kubernetes.io/name"] = "other"),
            ("every node", static all => Pod(all, "keylime-agent").Tolerations.Clear()),
        ];
        foreach (var (words, alter) in mistakes)
        {
            var all = Load();
            alter(all);
            Assert.Contains(Objections(all), o => o.Contains(words, StringComparison.Ordinal));
        }
    }

    private static List<string> Objections(List<object> all)
    {
        var found = new List<string>();
        void Want(bool good, string who, string words)
        {
            if (!good)
                found.Add($"{who}: {words}");
        }

        foreach (var (name, at, pod) in Pods(all))
        {
            Want(pod.SecurityContext?.SeccompProfile?.Type == "RuntimeDefault", name, "no seccomp profile");
            Want(pod.AutomountServiceAccountToken == false, name, "it gets a token of Kubernetes");
            Want(pod is { HostNetwork: not true, HostPID: not true, HostIPC: not true }, name, "it is in namespaces of the node");
            var paths = (pod.Volumes ?? []).Select(static v => v.HostPath?.Path).OfType<string>().ToList();
            Want(paths.All(p => name == "keylime-agent" && p is "/sys/kernel/security" or "/var/lib/keylime"), name, "it gets its node's files");
            foreach (var container in pod.Containers)
            {
                var rights = container.SecurityContext;
                Want(rights?.Privileged is not true, name, "it is privileged");
                Want(rights?.AllowPrivilegeEscalation == false, name, "it may get more rights");
                Want(rights?.ReadOnlyRootFilesystem == true, name, "its root file system can be written");
                Want(rights?.Capabilities is { Add: null or { Count: 0 }, Drop: ["ALL"] }, name, "it has a capability");
                Want(container.Resources?.Limits?.ContainsKey("memory") == true, name, "it may take all memory");
                Want((container.VolumeMounts ?? []).Where(m => (pod.Volumes ?? []).Single(v => v.Name == m.Name).HostPath?.Path == "/sys/kernel/security").All(static m => m.ReadOnlyProperty == true), name, "what the kernel tells can be written");
            }

            var policy = all.OfType<V1NetworkPolicy>().SingleOrDefault(p => p.Metadata.NamespaceProperty == at && p.Spec.PodSelector.MatchLabels["app.kubernetes.io/name"] == name);
            Want(policy?.Spec.PolicyTypes is { Count: 2 }, name, "nothing says whom it talks to");
            Want(policy?.Spec.Egress?.SelectMany(static e => e.To ?? []).Where(static t => t.IpBlock?.Cidr == "0.0.0.0/0").All(static t => t.IpBlock.Except?.Contains("169.254.169.254/32") == true) == true, name, "it may have the identity of its node");
        }

        var service = Pods(all).Single(static p => p.Name == "keylime-service");
        var image = File.ReadLines(Path.Combine(Checkout.Root, "infra", "container", "Containerfile")).Single(static l => l.StartsWith("USER ", StringComparison.Ordinal))["USER ".Length..];
        Want(service.Pod.SecurityContext is { RunAsNonRoot: true }, service.Name, "it may run as root");
        Want($"{service.Pod.SecurityContext?.RunAsUser}:{service.Pod.SecurityContext?.RunAsGroup}" == image, service.Name, "it is not the user of the image");
        Want(all.OfType<V1Namespace>().Any(n => n.Metadata.Name == service.Namespace && n.Metadata.Labels?.ContainsKey("pod-security.kubernetes.io/enforce") == true && n.Metadata.Labels["pod-security.kubernetes.io/enforce"] == "restricted"), service.Name, "its namespace is not restricted");
        var replicas = all.OfType<V1Deployment>().Single().Spec.Replicas;
        Want(replicas > 2 && all.OfType<V1PodDisruptionBudget>().Single().Spec.MinAvailable.Value == $"{replicas - 1}", service.Name, "of one instance more or less than one may go");
        var instance = service.Pod.Containers.Single();
        Want(((V1Probe?[])[instance.ReadinessProbe, instance.StartupProbe]).All(static p => p?.HttpGet is { Path: "/health", Scheme: "HTTPS" }), service.Name, "/health is not asked over TLS");
        Want(instance.LivenessProbe?.HttpGet.Path is not null and not "/health", service.Name, "a store that is away would restart it");
        Want(all.OfType<V1Service>().Single().Spec.Selector["app.kubernetes.io/name"] == service.Name, service.Name, "the service selects nothing");
        var agent = Pods(all).Single(static p => p.Name == "keylime-agent");
        Want(agent.Pod.Containers.All(static c => c.Ports is null or { Count: 0 }), agent.Name, "it listens");
        Want(agent.Pod.Tolerations is [{ OperatorProperty: "Exists", Key: null }], agent.Name, "it is not on every node");
        return found;
    }

    private static List<object> Load() =>
        [.. Directory.EnumerateFiles(Folder, "*.yaml").Where(static f => !f.EndsWith("kustomization.yaml", StringComparison.Ordinal)).Order(StringComparer.Ordinal).SelectMany(static f => KubernetesYaml.LoadAllFromString(File.ReadAllText(f), strict: true))];

    private static IEnumerable<(string Name, string Namespace, V1PodSpec Pod)> Pods(List<object> all) =>
        all.OfType<V1Deployment>().Select(static d => (d.Metadata.Name, d.Metadata.NamespaceProperty, d.Spec.Template.Spec))
            .Concat(all.OfType<V1DaemonSet>().Select(static d => (d.Metadata.Name, d.Metadata.NamespaceProperty, d.Spec.Template.Spec)));

    private static V1PodSpec Pod(List<object> all, string name) => Pods(all).Single(p => p.Name == name).Pod;

    private static V1Container Container(List<object> all, string name) => Pod(all, name).Containers.Single();

    private static YamlMappingNode Mapping(string path)
    {
        var yaml = new YamlStream();
        yaml.Load(new StringReader(File.ReadAllText(path)));
        return (YamlMappingNode)yaml.Documents.Single().RootNode;
    }

    private static IEnumerable<string> Scalars(YamlMappingNode node, string name) => ((YamlSequenceNode)node[name]).Select(static n => ((YamlScalarNode)n).Value!);
}
