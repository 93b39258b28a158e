namespace Keylime.Functions.Tests;

/// <summary>Every change of state that the crash matrix knows. A route that changes something new gets an entry here.</summary>
internal static class CrashChanges
{
    public static IReadOnlyDictionary<string, Change> All { get; } = OfNodes.Changes.Concat(OfAdministration.Changes).Concat(OfPayloads.Changes).ToDictionary();
}
