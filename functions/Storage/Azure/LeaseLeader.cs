using Azure;
using Azure.Storage.Blobs.Models;
using Azure.Storage.Blobs.Specialized;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Storage.Azure;

/// <summary>
/// The one who has the lease of a blob leads. A lease that is not renewed ends by itself, so a process that dies is followed within <see cref="Length"/> and one <see cref="Look"/>; one that ends in peace
/// gives it back. Time is counted by the clock that nobody sets, from before a request was sent: a process stops to lead earlier than the service takes the lease for free, whatever their clocks say.
/// </summary>
internal sealed partial class LeaseLeader(AzureAccounts accounts, TimeProvider clock, ILogger<LeaseLeader> log) : BackgroundService, ILeader
{
    /// <summary>As long as a lease can be that ends by itself.</summary>
    public static readonly TimeSpan Length = TimeSpan.FromSeconds(60);

    /// <summary>How often one who does not lead looks whether it could.</summary>
    public static readonly TimeSpan Look = TimeSpan.FromSeconds(10);

    private const string Name = "timers-leader"; // all other blobs are called by a digest
    private static readonly TimeSpan Renewal = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Margin = TimeSpan.FromSeconds(10); // for a request of a run that is on its way

    private readonly string _id = $"{Guid.NewGuid()}";
    private Leading? _leading;

    public CancellationToken? Term => Volatile.Read(ref _leading) is { Over.IsCancellationRequested: false } term && clock.GetElapsedTime(term.Since) < Length - Margin ? term.Over.Token : null;

    private BlobLeaseClient Lease => Blob.GetBlobLeaseClient(_id);

    private BlockBlobClient Blob => accounts.All[0].Blobs.GetBlockBlobClient(Name);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await TryAsync(stoppingToken);
            }
#pragma warning disable CA1031 // The outermost loop: who leads does so until its time is up, and the next look comes.
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
#pragma warning restore CA1031
            {
                LogUnknown(log, e.Message);
            }

            await Task.Delay(_leading is null ? Look : Renewal, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        if (_leading is null)
            return;
        End();
        try
        {
            await AzureErrors.TranslateAsync(() => Lease.ReleaseAsync(cancellationToken: cancellationToken));
        }
        catch (Exception e) when (e is StorageUnavailableException or OperationCanceledException)
        {
            // it ends by itself
        }
    }

    /// <summary>Takes the lease, or renews it.</summary>
    internal async Task TryAsync(CancellationToken cancel)
    {
        if (_leading is { } term && Term is null)
            End(); // its time was up before a renewal came through
        var since = clock.GetTimestamp();
        if (_leading is null)
        {
            if (await TakeAsync(cancel))
                Begin(since);
        }
        else if (await RenewAsync(cancel))
        {
            _leading.Since = since;
            _leading.Over.CancelAfter(Length - Margin - clock.GetElapsedTime(since));
        }
        else
        {
            End();
        }
    }

    private void Begin(long since)
    {
        Volatile.Write(ref _leading, new Leading(new CancellationTokenSource(Length - Margin - clock.GetElapsedTime(since), clock)) { Since = since });
        LogLeads(log, _id);
    }

    private void End()
    {
        var ended = _leading!;
        Volatile.Write(ref _leading, null);
        ended.Over.Cancel(); // whoever still holds its token may ask it; so it is not disposed of
        LogEnds(log, _id);
    }

    private Task<bool> TakeAsync(CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        for (var made = false; ; made = true)
        {
            try
            {
                await Lease.AcquireAsync(Length, cancellationToken: cancel);
                return true;
            }
            catch (RequestFailedException e) when (e.ErrorCode == BlobErrorCode.LeaseAlreadyPresent)
            {
                return false;
            }
            catch (RequestFailedException e) when (e.ErrorCode == BlobErrorCode.BlobNotFound && !made)
            {
                await MakeAsync(cancel);
            }
        }
    });

    private async Task MakeAsync(CancellationToken cancel)
    {
        try
        {
            await Blob.UploadAsync(Stream.Null, new BlobUploadOptions { Conditions = new BlobRequestConditions { IfNoneMatch = ETag.All } }, cancel);
        }
        catch (RequestFailedException e) when (e.Status is StatusCodes.Status409Conflict or StatusCodes.Status412PreconditionFailed)
        {
            // another instance was faster, and may have the lease by now
        }
    }

    private Task<bool> RenewAsync(CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        try
        {
            await Lease.RenewAsync(cancellationToken: cancel);
            return true;
        }
        catch (RequestFailedException e) when (e.Status is StatusCodes.Status404NotFound or StatusCodes.Status409Conflict or StatusCodes.Status412PreconditionFailed)
        {
            return false;
        }
    });

    private sealed record Leading(CancellationTokenSource Over)
    {
        public long Since { get; set; }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "This instance runs the timers, by the lease {Id}")]
    private static partial void LogLeads(ILogger log, string id);

    [LoggerMessage(Level = LogLevel.Information, Message = "This instance runs the timers no more, by the lease {Id}")]
    private static partial void LogEnds(ILogger log, string id);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Who runs the timers is not known: {Why}")]
    private static partial void LogUnknown(ILogger log, string why);
}
