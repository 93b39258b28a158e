using System.Security.Cryptography;
using Azure;
using Azure.Storage.Blobs.Models;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Storage.Azure;

/// <summary>Large objects in Blob Storage, each under its digest, written once.</summary>
internal sealed class AzureBlobStore(AzureAccounts accounts, ServiceOptions options, TimeProvider clock) : IBlobStore
{
    private readonly LocalCopies _copies = new(Path.Combine(options.Data, "copies"), options.PolicyMemory, clock);

    public Task<string> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancel) => AzureErrors.TranslateAsync(async () =>
    {
        var digest = Convert.ToHexStringLower(SHA256.HashData(content.Span));
        var blob = accounts.For(digest).Blobs.GetBlobClient(digest);
        try
        {
            await blob.UploadAsync(BinaryData.FromBytes(content), new BlobUploadOptions { Conditions = new BlobRequestConditions { IfNoneMatch = ETag.All } }, cancel);
        }
        catch (RequestFailedException e) when (e.Status is StatusCodes.Status409Conflict or StatusCodes.Status412PreconditionFailed)
        {
            // It is there: the same bytes have the same name.
        }

        return digest;
    });

    public Task<ReadOnlyMemory<byte>?> FindAsync(string digest, CancellationToken cancel)
    {
        Demand(digest);
        return AzureErrors.TranslateAsync(async () =>
        {
            try
            {
                var found = await accounts.For(digest).Blobs.GetBlobClient(digest).DownloadContentAsync(cancel);
                var content = found.Value.Content.ToMemory();
                return Convert.ToHexStringLower(SHA256.HashData(content.Span)) == digest ? content : (ReadOnlyMemory<byte>?)null;
            }
            catch (RequestFailedException e) when (e.Status == StatusCodes.Status404NotFound)
            {
                return null;
            }
        });
    }

    public Task<ReadOnlyMemory<byte>?> MapAsync(string digest, CancellationToken cancel)
    {
        Demand(digest);
        return AzureErrors.TranslateAsync(async () =>
        {
            try
            {
                return await _copies.MapAsync(digest, async file =>
                {
                    try
                    {
                        await using var content = (await accounts.For(digest).Blobs.GetBlobClient(digest).DownloadStreamingAsync(cancellationToken: cancel)).Value.Content;
                        await content.CopyToAsync(file, cancel);
                        return true;
                    }
                    catch (RequestFailedException e) when (e.Status == StatusCodes.Status404NotFound)
                    {
                        return false;
                    }
                });
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new StorageUnavailableException($"Copies of blobs: {e.Message}", e);
            }
        });
    }

    private static void Demand(string digest)
    {
        if (digest.Length != SHA256.HashSizeInBytes * 2 || !digest.All(char.IsAsciiHexDigitLower))
            throw new ArgumentException("A SHA-256 in lower-case hex is expected.", nameof(digest));
    }
}
