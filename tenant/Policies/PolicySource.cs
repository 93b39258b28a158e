using System.Text;
using Keylime.Attestation;
using Keylime.Protocol;

namespace Keylime.Tenant;

/// <summary>A policy's text for a command: a file, the standard input, or, where there is no such file, the policy of that name at the service.</summary>
internal static class PolicySource
{
    public const string Description = "A file, - for the standard input, or the name of a policy that the service has.";

    /// <summary>The text as it is, and, where it is in an envelope, what is in it; nobody's signature is looked at.</summary>
    /// <exception cref="CliException">It cannot be read, or is no envelope that can be opened.</exception>
    public static async Task<ReadOnlyMemory<byte>> ReadAsync(Surroundings surroundings, string source, CancellationToken cancel)
    {
        var text = await ReadWholeAsync(surroundings, source, cancel);
        if (!DsseEnvelope.IsEnvelope(text.Span))
            return text;
        return DsseEnvelope.TryParse(text, out var envelope, out var error)
            ? envelope.UntrustedPayload
            : throw new CliException(Exits.Usage, $"{PlainText.From(source)}: {PlainText.From(error)}", "a policy, bare or in a DSSE envelope, is expected");
    }

    public static async Task<ReadOnlyMemory<byte>> ReadWholeAsync(Surroundings surroundings, string source, CancellationToken cancel)
    {
        if (source == "-" || File.Exists(source) || !AgentId.TryParse(source, null, out _))
            return await PolicyCommands.ReadAsync(surroundings, source, cancel);
        try
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            return await api.SendAsync(HttpMethod.Get, PolicyCommands.PathOf(source), null, cancel);
        }
        catch (CliException e)
        {
            throw new CliException(e.Exit, $"there is no file {PlainText.From(source)} here; as a policy of the service: {e.Message}", e.Hint);
        }
    }

    /// <exception cref="CliException">It is no runtime policy.</exception>
    public static async Task<RuntimePolicyDocument> ReadRuntimeAsync(Surroundings surroundings, string source, CancellationToken cancel) =>
        ParseRuntime(source, await ReadAsync(surroundings, source, cancel));

    /// <remarks>Members that nobody knows are kept in a runtime policy, so a policy of another kind would pass for one that lists nothing.</remarks>
    /// <exception cref="CliException">It is no runtime policy.</exception>
    public static RuntimePolicyDocument ParseRuntime(string source, ReadOnlyMemory<byte> text)
    {
        string error;
        if (BootPolicy.IsOne(text.Span))
            error = "it is a boot policy";
        else if (PolicyLayerList.IsOne(text.Span))
            error = "it is a list of layers";
        else if (RuntimePolicyDocument.TryParse(text, out var document, out error!))
            return document;
        throw new CliException(Exits.Usage, $"{PlainText.From(source)}: {PlainText.From(error)}", "a runtime policy in Keylime's JSON is expected");
    }

    /// <summary>Writes what was made: to the output, or to a file, which is there as a whole or not at all.</summary>
    public static async Task WriteAsync(Surroundings surroundings, string? path, ReadOnlyMemory<byte> text, CancellationToken cancel)
    {
        if (path is null or "-")
        {
            await surroundings.Out.WriteAsync(Encoding.UTF8.GetString(text.Span));
            return;
        }

        await WriteFileAsync(path, text, cancel);
    }

    /// <summary>Writes a file, which is there as a whole or not at all.</summary>
    /// <param name="isSecret">Nobody else may read it.</param>
    /// <exception cref="CliException">It cannot be written.</exception>
    public static async Task WriteFileAsync(string path, ReadOnlyMemory<byte> bytes, CancellationToken cancel, bool isSecret = false)
    {
        var part = path + ".part";
        try
        {
            File.Delete(part); // what another run left may be readable by others
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, Options = FileOptions.Asynchronous };
            if (isSecret && !OperatingSystem.IsWindows())
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            await using (var file = new FileStream(part, options))
                await file.WriteAsync(bytes, cancel);
            File.Move(part, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (File.Exists(part))
                File.Delete(part);
            throw new CliException(Exits.Failed, PlainText.From(e.Message), "a file that can be written is expected");
        }
    }
}
