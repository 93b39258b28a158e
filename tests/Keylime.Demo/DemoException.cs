namespace Keylime.Demo;

/// <summary>What should have been seen was not; the message says what.</summary>
internal sealed class DemoException(string message) : Exception(message);
