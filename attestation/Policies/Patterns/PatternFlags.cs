namespace Keylime.Attestation;

/// <summary>Python's <c>re.I</c>, <c>re.M</c>, <c>re.S</c>, <c>re.X</c> and <c>re.A</c>, as they hold at a place of a pattern.</summary>
[Flags]
internal enum PatternFlags
{
    None = 0,
    IgnoreCase = 1,
    Multiline = 2,
    DotAll = 4,
    Verbose = 8,
    Ascii = 16,
}
