namespace Keylime.Benchmarks;

/// <summary>What was to be measured does not work, or cannot be measured here. A benchmark of something that does not work says nothing.</summary>
internal sealed class BenchmarkException(string message) : Exception(message);
