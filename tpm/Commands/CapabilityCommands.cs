using System.Collections.Immutable;

namespace Keylime.Tpm.Commands;

/// <summary>TPM_CAP (Part 2, 6.12).</summary>
internal enum Capability : uint // a TPM may say any of them
{
    Algorithms = 0,
    Handles = 1,
    PcrBanks = 5,
    Properties = 6,
    EccCurves = 8,
}

/// <summary>One algorithm that a TPM implements (TPMS_ALG_PROPERTY, Part 2, 10.8.1).</summary>
public readonly record struct AlgorithmProperty(TpmAlgorithm Algorithm, uint Attributes)
{
    private const uint Asymmetric = 1 << 0;
    private const uint Hash = 1 << 2;
    private const uint Signing = 1 << 8;

    /// <summary>True for what signs with an asymmetric key: the schemes of TPMT_SIGNATURE.</summary>
    public bool IsSignatureScheme => (Attributes & (Asymmetric | Signing)) == (Asymmetric | Signing);

    public bool IsHash => (Attributes & Hash) != 0;
}

/// <summary>What one TPM2_GetCapability gave; the lists that were not asked for are empty.</summary>
internal sealed record CapabilityData(
    bool More,
    ImmutableArray<AlgorithmProperty> Algorithms,
    ImmutableArray<uint> Handles,
    ImmutableArray<PcrSelection> PcrBanks,
    ImmutableArray<(uint Property, uint Value)> Properties,
    ImmutableArray<TpmCurve> Curves);

/// <summary>TPM2_GetCapability (Part 3, 30.2).</summary>
internal readonly record struct GetCapability(Capability Capability, uint First, uint Count) : ITpmCommand<CapabilityData>
{
    private const uint MaxItems = 256; // a response has 4096 bytes at most, an item four at least; 254 is MAX_CAP_HANDLES

    public static string Name => "TPM2_GetCapability";

    public static uint Code => 0x0000017A;

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteUInt32((uint)Capability);
        writer.WriteUInt32(First);
        writer.WriteUInt32(Count);
    }

    public static CapabilityData ReadResponse(uint handle, ref TpmReader parameters)
    {
        var more = parameters.ReadYesNo("moreData");
        var at = parameters.Position;
        var data = new CapabilityData(more, [], [], [], [], []);
        switch ((Capability)parameters.ReadUInt32())
        {
            case Capability.Algorithms:
                var algorithms = ImmutableArray.CreateBuilder<AlgorithmProperty>();
                for (var left = ReadCount(ref parameters); left > 0; left--)
                    algorithms.Add(new AlgorithmProperty((TpmAlgorithm)parameters.ReadUInt16(), parameters.ReadUInt32()));
                return data with { Algorithms = algorithms.DrainToImmutable() };
            case Capability.Handles:
                var handles = ImmutableArray.CreateBuilder<uint>();
                for (var left = ReadCount(ref parameters); left > 0; left--)
                    handles.Add(parameters.ReadUInt32());
                return data with { Handles = handles.DrainToImmutable() };
            case Capability.PcrBanks:
                return data with { PcrBanks = PcrSelection.ReadList(ref parameters) };
            case Capability.Properties:
                var properties = ImmutableArray.CreateBuilder<(uint, uint)>();
                for (var left = ReadCount(ref parameters); left > 0; left--)
                    properties.Add((parameters.ReadUInt32(), parameters.ReadUInt32()));
                return data with { Properties = properties.DrainToImmutable() };
            case Capability.EccCurves:
                var curves = ImmutableArray.CreateBuilder<TpmCurve>();
                for (var left = ReadCount(ref parameters); left > 0; left--)
                    curves.Add((TpmCurve)parameters.ReadUInt16());
                return data with { Curves = curves.DrainToImmutable() };
            case var other:
                throw new TpmFormatException($"capability {(uint)other} was not asked for,", at);
        }
    }

    private static uint ReadCount(ref TpmReader reader)
    {
        var at = reader.Position;
        var count = reader.ReadUInt32();
        return count <= MaxItems ? count : throw new TpmFormatException($"{count} items, {MaxItems} at most,", at);
    }
}
