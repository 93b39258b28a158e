using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Azure;
using Azure.Storage.Queues;
using Azure.Storage.Queues.Models;

namespace Keylime.FunctionsHost;

/// <summary>What host.json says of queues; where it says nothing, what the host has.</summary>
internal sealed record QueueSettings(int BatchSize, int NewBatchThreshold, int MaxDequeueCount, TimeSpan Visibility, TimeSpan MaxPolling, bool IsBase64)
{
    public static QueueSettings Of(JsonElement queues)
    {
        var batch = Number("batchSize", 16);
        if (batch is < 1 or > 32)
            throw new InvalidDataException("host.json: a batchSize from 1 to 32 is expected.");
        var encoding = queues.ValueKind == JsonValueKind.Object && queues.TryGetProperty("messageEncoding", out var said) ? said.GetString() : "base64";
        if (encoding is not ("base64" or "none"))
            throw new InvalidDataException("host.json: a messageEncoding of base64 or none is expected.");
        return new QueueSettings(batch, Number("newBatchThreshold", batch / 2), Number("maxDequeueCount", 5), Time("visibilityTimeout", TimeSpan.Zero), Time("maxPollingInterval", TimeSpan.FromMinutes(1)), encoding == "base64");

        int Number(string name, int otherwise) => queues.ValueKind == JsonValueKind.Object && queues.TryGetProperty(name, out var value) ? value.GetInt32() : otherwise;
        TimeSpan Time(string name, TimeSpan otherwise) =>
            queues.ValueKind == JsonValueKind.Object && queues.TryGetProperty(name, out var value) ? TimeSpan.ParseExact(value.GetString()!, "c", CultureInfo.InvariantCulture) : otherwise;
    }
}

/// <summary>What the handler made of a message.</summary>
/// <param name="Poisoned">It has failed too often, or is no message that a host hands out.</param>
internal sealed record QueueCall(string Function, string Id, long DequeueCount, Invocation Came, bool Poisoned);

/// <summary>
/// A queue trigger of the host: it polls, with pauses that double while nothing is there; hands out what it took, a batch and half of the next one at once; hides what is worked on for longer than its ten minutes; deletes what
/// succeeded, shows again what failed, and moves to the poison queue what failed too often. Where messages are to be Base64 (which is what a host assumes), what is not never comes to the handler, nor to one of the poison queue.
/// </summary>
internal sealed class QueueListener : IAsyncDisposable
{
    private static readonly TimeSpan Hidden = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(100);

    private readonly CancellationTokenSource _stop = new();
    private readonly AppFunction _function;
    private readonly QueueClient _queue;
    private readonly QueueClient _poison;
    private readonly QueueSettings _settings;
    private readonly Triggers _triggers;
    private readonly Handler _handler;
    private readonly SemaphoreSlim _places;
    private Task _polling = Task.CompletedTask;

    private QueueListener(AppFunction function, string connection, QueueSettings settings, Triggers triggers, Handler handler)
    {
        var service = new QueueServiceClient(connection);
        (_function, _settings, _triggers, _handler) = (function, settings, triggers, handler);
        (_queue, _poison) = (service.GetQueueClient(function.Queue), service.GetQueueClient(function.Queue + "-poison"));
        _places = new SemaphoreSlim(settings.BatchSize + settings.NewBatchThreshold);
    }

    public ConcurrentQueue<QueueCall> Calls { get; } = new();

    /// <summary>Where a trigger's queue is: a connection string among the settings. A host takes an identity too, which an emulator knows nothing of.</summary>
    /// <exception cref="InvalidDataException">The settings do not say: the host would not start that function.</exception>
    public static string ConnectionOf(AppFunction function, IReadOnlyDictionary<string, string> settings) => settings.TryGetValue(function.Connection!, out var connection)
        ? connection
        : throw new InvalidDataException($"{function.Name}: the settings name no '{function.Connection}'.");

    public static QueueListener Start(AppFunction function, string connection, QueueSettings settings, Triggers triggers, Handler handler)
    {
        var listener = new QueueListener(function, connection, settings, triggers, handler);
        listener._polling = listener.PollAsync();
        return listener;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        try
        {
            await _polling;
        }
        catch (OperationCanceledException)
        {
            // that is how it ends; what is worked on comes again
        }

        _stop.Dispose();
    }

    private async Task PollAsync()
    {
        var pause = ShortestPause;
        while (true)
        {
            await _places.WaitAsync(_stop.Token);
            _places.Release();
            var taken = await TakeAsync();
            foreach (var message in taken)
            {
                await _places.WaitAsync(_stop.Token);
                _ = DoAsync(message);
            }

            pause = taken.Length > 0 ? ShortestPause : pause * 2 < _settings.MaxPolling ? pause * 2 : _settings.MaxPolling;
            if (taken.Length == 0)
                await Task.Delay(pause, _stop.Token);
        }
    }

    private async Task<QueueMessage[]> TakeAsync()
    {
        try
        {
            return (await _queue.ReceiveMessagesAsync(Math.Min(_settings.BatchSize, _places.CurrentCount), Hidden, _stop.Token)).Value;
        }
        catch (RequestFailedException e) when (e.ErrorCode == QueueErrorCode.QueueNotFound)
        {
            return []; // nobody has made it yet
        }
    }

    private async Task DoAsync(QueueMessage message)
    {
        try
        {
            var came = message.DequeueCount > _settings.MaxDequeueCount ? new Invocation(false, "It was taken too often.")
                : Decode(message) is not { } content ? null
                : await _triggers.QueueAsync(_handler.Url, _function, message, content, TimeProvider.System.GetUtcNow(), _stop.Token);
            var poisoned = came is null || (!came.Succeeded && message.DequeueCount >= _settings.MaxDequeueCount);
            if (poisoned)
            {
                await _poison.CreateIfNotExistsAsync(cancellationToken: _stop.Token);
                await _poison.SendMessageAsync(message.MessageText, _stop.Token);
            }

            if (poisoned || came!.Succeeded)
                await _queue.DeleteMessageAsync(message.MessageId, message.PopReceipt, _stop.Token);
            else
                await _queue.UpdateMessageAsync(message.MessageId, message.PopReceipt, visibilityTimeout: _settings.Visibility, cancellationToken: _stop.Token);
            Calls.Enqueue(new QueueCall(_function.Name, message.MessageId, message.DequeueCount, came ?? new Invocation(false, "It is no Base64."), poisoned));
        }
        catch (Exception e) when (e is OperationCanceledException or RequestFailedException)
        {
            // the host ends, or the store does: the message comes again
        }
        finally
        {
            _places.Release();
        }
    }

    private byte[]? Decode(QueueMessage message)
    {
        if (!_settings.IsBase64)
            return System.Text.Encoding.UTF8.GetBytes(message.MessageText);
        try
        {
            return Convert.FromBase64String(message.MessageText);
        }
        catch (FormatException)
        {
            return null;
        }
    }
}
