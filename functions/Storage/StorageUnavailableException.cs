namespace Keylime.Functions.Storage;

/// <summary>The store cannot be reached or cannot do what it must. A request that meets it is answered 503, and never with a verdict.</summary>
internal class StorageUnavailableException(string message, Exception? inner = null) : Exception(message, inner);
