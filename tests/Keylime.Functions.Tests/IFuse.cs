using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Functions.Tests;

/// <summary>What kills a store at its write N: nothing is written from there on, whatever is tried.</summary>
internal interface IFuse
{
    bool Blown { get; }

    /// <summary>Writes that would have gone over whatever stood there.</summary>
    IEnumerable<string> Unconditional { get; }

    /// <param name="after">The write itself arrives; its answer does not.</param>
    void Arm(int write, bool after);

    void Install(IServiceCollection services);
}
