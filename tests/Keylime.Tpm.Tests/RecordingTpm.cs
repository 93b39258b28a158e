namespace Keylime.Tpm.Tests;

/// <summary>A TPM that answers from a list of responses, in hex, and keeps the commands; for what no real TPM can be made to say.</summary>
internal sealed class RecordingTpm(params string[] responses) : ITpmDevice
{
    private int _next;

    public List<string> Commands { get; } = [];

    public ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
    {
        Commands.Add(Convert.ToHexStringLower(command.Span));
        var response = responses[Math.Min(_next++, responses.Length - 1)];
        return ValueTask.FromResult<ReadOnlyMemory<byte>>(Structures.Hex(response));
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
