using System.Text;
using CsCheck;

namespace Keylime.Attestation.Tests;

/// <summary>The text of a layered policy.</summary>
public sealed class PolicyLayerListTests
{
    private static readonly string Digest = new('a', 64);

    [Fact]
    public void A_list_is_written_and_read_again()
    {
        var name = Gen.String[Gen.Char['a', 'z'], 1, 20];
        var until = Gen.Bool.SelectMany(has => has ? Gen.Int.Select(s => (DateTimeOffset?)DateTimeOffset.UnixEpoch.AddSeconds(Math.Abs((long)s))) : Gen.Const((DateTimeOffset?)null));
        Gen.Select(name, Gen.Bool, until).Array[1, RuntimePolicy.MaxLayers].Where(a => a.DistinctBy(l => l.Item1).Count() == a.Length).Sample(layers =>
        {
            var list = PolicyLayerList.Of([.. layers.Select(l => new PolicyLayerReference(l.Item1, l.Item2 ? Digest : null, l.Item3))]);
            var text = list.Write();
            Assert.True(PolicyLayerList.IsOne(text));
            Assert.True(PolicyLayerList.TryParse(text, out var read, out var error), error);
            Assert.Equal(list.Layers, read.Layers);
        }, iter: 300);
    }

    [Theory]
    [InlineData("{\"layers\":[]}", "0 layers")]
    [InlineData("{\"layers\":{}}", "$.layers")]
    [InlineData("{\"layers\":[7]}", "$.layers[0]")]
    [InlineData("{\"layers\":[{}]}", "$.layers[0].policy")]
    [InlineData("{\"layers\":[{\"policy\":\"\"}]}", "$.layers[0].policy")]
    [InlineData("{\"layers\":[{\"policy\":7}]}", "$.layers[0].policy")]
    [InlineData("{\"layers\":[{\"policy\":\"a\",\"policy\":\"b\"}]}", "twice")]
    [InlineData("{\"layers\":[{\"policy\":\"a\"},{\"policy\":\"a\"}]}", "twice")]
    [InlineData("{\"layers\":[{\"policy\":\"a\",\"digest\":\"A\"}]}", "$.layers[0].digest")]
    [InlineData("{\"layers\":[{\"policy\":\"a\",\"until\":\"tomorrow\"}]}", "$.layers[0].until")]
    [InlineData("{\"layers\":[{\"policy\":\"a\",\"until\":\"2026-12-01T00:00:00+01:00\"}]}", "$.layers[0].until")]
    [InlineData("{\"layers\":[{\"policy\":\"a\",\"since\":\"2026-12-01T00:00:00Z\"}]}", "$.layers[0].since")]
    [InlineData("{\"layers\":[{\"policy\":\"a\"}],\"x\":1}", "no other member")]
    [InlineData("{\"layers\":[{\"policy\":\"a\"}]} 1", "")]
    [InlineData("{\"layers\":[{\"policy\":\"a\"}", "")]
    [InlineData("{\"layers\":[", "")]
    [InlineData("{\"layers\"", "")]
    public void A_text_that_is_none_is_refused_with_the_place(string text, string where)
    {
        Assert.False(PolicyLayerList.TryParse(Encoding.UTF8.GetBytes(text), out _, out var error));
        Assert.Contains(where, error, StringComparison.Ordinal);
    }

    [Fact]
    public void It_is_bounded()
    {
        var many = string.Join(',', Enumerable.Range(0, 17).Select(i => $"{{\"policy\":\"p{i}\"}}"));
        Assert.False(PolicyLayerList.TryParse(Encoding.UTF8.GetBytes($"{{\"layers\":[{many}]}}"), out _, out var error));
        Assert.Contains("16", error, StringComparison.Ordinal);
        Assert.False(PolicyLayerList.TryParse(new byte[PolicyLayerList.MaxLength + 1], out _, out error));
        Assert.Contains("bytes", error, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => PolicyLayerList.Of());
    }

    [Theory]
    [InlineData("{\"layers\":", true)]
    [InlineData("{\"meta\":{}}", false)]
    [InlineData("[\"layers\"]", false)]
    [InlineData("", false)]
    [InlineData("{", false)]
    public void IsOne(string text, bool expected) => Assert.Equal(expected, PolicyLayerList.IsOne(Encoding.UTF8.GetBytes(text)));

    [Fact]
    public void Any_bytes_give_a_list_or_a_reason() =>
        Gen.Byte.Array[0, 200].Sample(bytes => Assert.NotEqual(PolicyLayerList.TryParse(bytes, out _, out var error), error is not null), iter: 2000);
}
