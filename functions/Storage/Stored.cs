namespace Keylime.Functions.Storage;

/// <summary>A value as it was when it was read.</summary>
/// <param name="ETag">Opaque; another one after every change.</param>
internal sealed record Stored<T>(T Value, string ETag);
