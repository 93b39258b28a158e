using Keylime.Attestation;

namespace Keylime.Tenant;

/// <summary>A runtime policy while it is made: its text, where its digests came from, and what a person has to know of it.</summary>
internal sealed class PolicyDraft(RuntimePolicyDocument document)
{
    private const int MaxNotes = 200;

    private readonly List<string> _notes = [];
    private int _untold;

    public RuntimePolicyDocument Document { get; } = document;

    public Provenance Provenance { get; } = Provenance.Of(document);

    /// <summary>What was left out or is unwise; of very many the first.</summary>
    public IEnumerable<string> Notes => _untold == 0 ? _notes : _notes.Append($"and {_untold} more");

    /// <summary>How many digests the sources gave; those that were there count too.</summary>
    public long Seen { get; private set; }

    /// <summary>Allows a file of a digest, under the name that the kernel measures: it writes '_' for a space (ima_template_lib.c).</summary>
    /// <param name="path">As in the file system.</param>
    /// <param name="package">Whom the file belongs to, if to a package.</param>
    public void AllowFile(string path, string digest, string? package = null)
    {
        var measured = path.Replace(' ', '_');
        Allow(measured, digest);
        if (package is not null)
            Provenance.AddFile(package, measured);
    }

    /// <summary>Allows what a list names; the name is as it was measured.</summary>
    public void Allow(string name, string digest)
    {
        Document.Allow(name, digest);
        Seen++;
    }

    public void Tell(string note)
    {
        if (_notes.Count < MaxNotes)
            _notes.Add(note);
        else
            _untold++;
    }
}
