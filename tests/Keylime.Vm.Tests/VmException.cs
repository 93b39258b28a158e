namespace Keylime.Vm.Tests;

/// <summary>The virtual machine did not do what it was told; the message says what, and ends with the last that its console said.</summary>
internal sealed class VmException(string message) : Exception(message);
