using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>An event that <see cref="BootLogBuilder"/> writes into a log.</summary>
public sealed record WrittenEvent(int Pcr, uint Type, ImmutableArray<(TpmAlgorithm Bank, byte[] Value)> Digests, byte[] Data);
