namespace Keylime.Functions.Storage;

/// <summary>The row is there and cannot be read. Who can do without it may; to everybody else the store is not available.</summary>
internal sealed class UnreadableRowException(string message) : StorageUnavailableException(message);
