namespace Keylime.Tpm.Tests;

/// <summary>Response codes in words; the numbers are those that tpm2_rc_decode knows.</summary>
public static class ResponseCodeTests
{
    [Theory]
    [InlineData(0x000, "TPM_RC_SUCCESS: no error")]
    [InlineData(0x01E, "TPM_RC_BAD_TAG: the command has a tag the TPM does not know; a TPM 1.2 says so to every TPM 2.0 command")]
    [InlineData(0x100, "TPM_RC_INITIALIZE: TPM2_Startup has not been sent since power on, or has been already")]
    [InlineData(0x101, "TPM_RC_FAILURE: the TPM is in failure mode: restart the machine, and replace the TPM if it stays")]
    [InlineData(0x119, "TPM_RC_HMAC: not supported")]
    [InlineData(0x120, "TPM_RC_DISABLED: the command is disabled")]
    [InlineData(0x121, "TPM_RC_EXCLUSIVE: another command came between, in an exclusive audit session")]
    [InlineData(0x143, "TPM_RC_COMMAND_CODE: the TPM does not have this command")]
    [InlineData(0x084, "TPM_RC_VALUE: the value is out of range or not correct in this place")]
    [InlineData(0x1C4, "TPM_RC_VALUE (parameter 1): the value is out of range or not correct in this place")]
    [InlineData(0x2D2, "TPM_RC_SCHEME (parameter 2): the scheme is not supported or does not fit the key")]
    [InlineData(0x0C4, "TPM_RC_VALUE (a parameter): the value is out of range or not correct in this place")]
    [InlineData(0xFC4, "TPM_RC_VALUE (parameter 15): the value is out of range or not correct in this place")]
    [InlineData(0x18B, "TPM_RC_HANDLE (handle 1): the handle is not correct, or nothing is there")]
    [InlineData(0x98E, "TPM_RC_AUTH_FAIL (session 1): the authorization is wrong, and the failure counts towards the lockout")]
    [InlineData(0xA9D, "TPM_RC_POLICY_FAIL (session 2): the policy was not satisfied")]
    [InlineData(0x902, "TPM_RC_OBJECT_MEMORY: no memory is left for objects: flush some")]
    [InlineData(0x910, "TPM_RC_REFERENCE_H0: handle 1 names an object or session that is not loaded")]
    [InlineData(0x919, "TPM_RC_REFERENCE_S1: session 2 is not loaded")]
    [InlineData(0x921, "TPM_RC_LOCKOUT: too many authorizations failed: the TPM is in dictionary attack lockout")]
    [InlineData(0x922, "TPM_RC_RETRY: the TPM could not start the command: send it again")]
    [InlineData(0x500, "a code of the TPM's maker")]
    [InlineData(0x17F, "TPM_RC_?: a code that this system has no words for")]
    [InlineData(0xB0143, "TPM_RC_COMMAND_CODE: the TPM does not have this command, said by software (layer 11) and not by the TPM")]
    public static void Describe(uint code, string words)
    {
        Assert.Equal(words, new TpmResponseCode(code).Describe());
        Assert.Equal($"0x{code:x3} ({words})", new TpmResponseCode(code).ToString());
    }

    [Fact]
    public static void Every_error_has_a_name_of_its_own()
    {
        var names = Enum.GetValues<TpmError>().Select(error => TpmErrors.Explain(error).Name).ToList();
        Assert.DoesNotContain("?", names);
        Assert.Equal(names.Count, names.Distinct().Count());
    }

    [Theory]
    [InlineData(0x922, true)]
    [InlineData(0x908, true)]
    [InlineData(0x90A, true)]
    [InlineData(0x921, false)] // lockout lasts minutes
    [InlineData(0x122, false)]
    [InlineData(0, false)]
    public static void IsTransient(uint code, bool expected) => Assert.Equal(expected, new TpmResponseCode(code).IsTransient);

    [Theory]
    [InlineData(0x18B, true)]
    [InlineData(0x28B, true)]
    [InlineData(0x910, true)]
    [InlineData(0x1CB, true)] // in a parameter, as TPM2_FlushContext has its handle
    [InlineData(0x184, false)]
    [InlineData(0x10B, false)]
    public static void IsHandle(uint code, bool expected) => Assert.Equal(expected, new TpmResponseCode(code).IsHandle);

    [Fact]
    public static void A_refusal_says_which_command_and_why() => Assert.Equal(
        "The TPM refused TPM2_Quote: 0x2d2 (TPM_RC_SCHEME (parameter 2): the scheme is not supported or does not fit the key).",
        new TpmRefusedException("TPM2_Quote", new TpmResponseCode(0x2D2)).Message);
}
