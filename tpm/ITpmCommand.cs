namespace Keylime.Tpm;

/// <summary>A command of Part 3. Its type says what it answers with, so no caller casts.</summary>
public interface ITpmCommand<TResponse>
{
    /// <summary>The name in Part 3, for errors.</summary>
    static abstract string Name { get; }

    /// <summary>TPM_CC (Part 2, 6.5.2).</summary>
    static abstract uint Code { get; }

    /// <summary>Whether the response starts with a handle.</summary>
    static virtual bool ReturnsHandle => false;

    /// <summary>The handle area.</summary>
    void WriteHandles(TpmWriter writer)
    {
    }

    /// <summary>The parameter area.</summary>
    void WriteParameters(TpmWriter writer);

    /// <summary>Reads the response's parameters to their end.</summary>
    /// <param name="handle">The handle returned; 0 where there is none.</param>
    static abstract TResponse ReadResponse(uint handle, ref TpmReader parameters);
}
