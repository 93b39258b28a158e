using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Protocol.Upstream;

/// <summary>A JSON:API document around one resource (jsonapi.org, 1.1).</summary>
public sealed record Document<T>(Resource<T> Data)
{
    public DocumentLinks? Links { get; init; }

    public DocumentMeta? Meta { get; init; }

    public JsonApiVersion? Jsonapi { get; init; }
}

/// <summary>A JSON:API document around a list of resources.</summary>
public sealed record ListDocument<T>(IReadOnlyList<Resource<T>> Data)
{
    public DocumentLinks? Links { get; init; }

    public JsonApiVersion? Jsonapi { get; init; }
}

public sealed record Resource<T>(string Type, T Attributes) : IJsonOnDeserialized
{
    public string? Id { get; init; }

    public DocumentLinks? Links { get; init; }

    // Of a generic parameter the serializer does not know whether it may be null.
    void IJsonOnDeserialized.OnDeserialized()
    {
        if (Attributes is null)
            throw new JsonException("attributes are null where an object is expected");
    }
}

public sealed record DocumentLinks
{
    public string? Self { get; init; }

    public string? Next { get; init; }
}

public sealed record DocumentMeta
{
    /// <summary>Whole seconds; the upstream agent sleeps so long before it attests again.</summary>
    public long? SecondsToNextAttestation { get; init; }

    /// <summary>Ours, with what is asked: the answer to the evidence can ask for the next at once. See <see cref="NextWanted"/>.</summary>
    public bool? NextOffered { get; init; }

    /// <summary>Ours, of an agent with its evidence, where it was offered: it wants to be told with the answer what to prove next, and sends that in one request.</summary>
    public bool? NextWanted { get; init; }

    /// <summary>Ours, to who wanted it: the attestation that the next evidence answers, as POST would have opened it. Absent where it is to be asked for.</summary>
    public Resource<AttestationAttributes>? NextAttestation { get; init; }

    /// <summary>Ours: whole seconds that the agent's token lives from now on.</summary>
    public long? SecondsToTokenExpiry { get; init; }

    /// <summary>Ours: a digest of the payloads that are meant for this machine; none where there are none. As long as it stays, nothing has changed.</summary>
    public string? Payloads { get; init; }

    /// <summary>Ours, of an agent: the number of the last notice that it has dealt with, or <see cref="Notices.NoticeBatch.FromNowOn"/>. Absent where it wants none.</summary>
    public long? NoticesAfter { get; init; }

    /// <summary>Ours, to who asked: see <see cref="Notices.NoticeBatch"/>.</summary>
    public IReadOnlyList<string>? Notices { get; init; }

    public long? NoticesNext { get; init; }

    /// <summary>Ours: see <see cref="Notices.NoticeBatch.Lost"/>; absent where none were.</summary>
    public bool? NoticesLost { get; init; }
}

public sealed record JsonApiVersion(string Version)
{
    public static JsonApiVersion Current { get; } = new("1.1");
}

/// <summary>The answer to a request that failed.</summary>
public sealed record ErrorDocument(IReadOnlyList<ErrorObject> Errors)
{
    public DocumentLinks? Links { get; init; }

    public JsonApiVersion? Jsonapi { get; init; }
}

/// <param name="Status">The HTTP status, as text.</param>
/// <param name="Detail">For a person: what, where, what was expected.</param>
public sealed record ErrorObject(string Status, string Detail)
{
    /// <summary>Stable, snake case.</summary>
    public string? Code { get; init; }

    public string? Title { get; init; }

    public ErrorSource? Source { get; init; }
}

/// <param name="Pointer">A JSON pointer (RFC 6901) into the request.</param>
[System.Diagnostics.CodeAnalysis.SuppressMessage("Naming", "CA1720:Identifiers should not contain type names", Justification = "JSON:API's word.")]
public sealed record ErrorSource(string Pointer);
