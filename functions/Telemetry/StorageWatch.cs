using Azure.Core;
using Azure.Core.Pipeline;

namespace Keylime.Functions.Telemetry;

/// <summary>Stands where each try of a request to Azure Storage goes by: counts those that are not the first, and answers that say that the account has too much to do.</summary>
internal sealed class StorageWatch(Instruments instruments) : HttpPipelineSynchronousPolicy
{
    public override void OnSendingRequest(HttpMessage message)
    {
        if (message.ProcessingContext.RetryNumber > 0)
            instruments.Retried();
    }

    public override void OnReceivedResponse(HttpMessage message)
    {
        if (message.Response.Status is StatusCodes.Status429TooManyRequests or StatusCodes.Status503ServiceUnavailable)
            instruments.Throttled(message.Response.Status == StatusCodes.Status429TooManyRequests ? "429" : "503");
    }
}
