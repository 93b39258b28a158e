using System.Text;
using Azure;
using Azure.Storage.Queues;
using Azure.Storage.Queues.Models;

namespace Keylime.Functions.Storage.Azure;

/// <summary>Work to do later, in a queue of Azure Storage. Messages are Base64 in it, for its texts are XML.</summary>
internal sealed class AzureWorkQueue(QueueClient client) : IWorkQueue
{
    public Task PutAsync(ReadOnlyMemory<byte> message, TimeSpan delay, CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        if (message.Length > IWorkQueue.MaxMessage)
            throw new ArgumentException($"The message has {message.Length} bytes, and {IWorkQueue.MaxMessage} at most are taken.", nameof(message));
        await client.SendMessageAsync(Convert.ToBase64String(message.Span), delay, timeToLive: null, cancel);
        return true;
    });

    public Task<IReadOnlyList<WorkItem>> TakeAsync(int most, TimeSpan hidden, CancellationToken cancel) => AzureErrors.TranslateAsync<IReadOnlyList<WorkItem>>(async () =>
    {
        var taken = await client.ReceiveMessagesAsync(most, hidden, cancel);
        return [.. taken.Value.Select(static m => new WorkItem(m.MessageId, m.PopReceipt, Decode(m), checked((int)m.DequeueCount)))];
    });

    public Task<WorkItem?> TryHideAsync(WorkItem item, TimeSpan hidden, CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        try
        {
            var updated = await client.UpdateMessageAsync(item.Id, item.Receipt, visibilityTimeout: hidden, cancellationToken: cancel); // no text: it stays
            return item with { Receipt = updated.Value.PopReceipt };
        }
        catch (RequestFailedException e) when (IsNotHeld(e))
        {
            return null;
        }
    });

    public Task<bool> TryFinishAsync(WorkItem item, CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        try
        {
            await client.DeleteMessageAsync(item.Id, item.Receipt, cancel);
            return true;
        }
        catch (RequestFailedException e) when (IsNotHeld(e))
        {
            return false;
        }
    });

    // A receipt is good until the message is taken again; 404 says that it has gone, or that it is another's, and 400 that the receipt is an old one.
    private static bool IsNotHeld(RequestFailedException e) =>
        e.ErrorCode is "MessageNotFound" or "PopReceiptMismatch" || (e.Status == StatusCodes.Status400BadRequest && e.ErrorCode == "InvalidQueryParameterValue");

    // Whoever may write to the queue may have put anything there: what is no Base64 is kept as it is, for its handler to refuse.
    private static ReadOnlyMemory<byte> Decode(QueueMessage message)
    {
        var text = message.Body.ToString();
        var bytes = new byte[text.Length];
        return Convert.TryFromBase64String(text, bytes, out var length) ? bytes.AsMemory(0, length) : Encoding.UTF8.GetBytes(text);
    }
}
