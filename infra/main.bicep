// Keylime.Serverless on Azure: a function app on Flex Consumption, its stores, its vault, its identity, and who is told when something is wrong.
targetScope = 'resourceGroup'

@description('Where everything is.')
param location string = resourceGroup().location

@minLength(3)
@maxLength(11)
@description('In front of every name: lower-case letters and digits, with a letter in front.')
param name string

@description('The first operator\'s token by its hash, as keylime token prepare prints it (NAME:SHA256). It opens nothing; the token stays with who made it.')
param operatorToken string

@description('The directory of Entra ID whose users and programs may sign in, a GUID; empty for none. infra/entra-app prints it.')
param entraTenant string = ''

@description('What its tokens must be made for: the service\'s application, by its client id and its URI, with a comma between them. infra/entra-app prints it.')
param entraAudience string = ''

@description('The application that people sign in with. infra/entra-app prints it.')
param entraClient string = ''

@minValue(1)
@maxValue(86400)
@description('Seconds from one attestation of a machine to the next, where nothing else is said of it.')
param intervalSeconds int = 60

@minValue(0)
@maxValue(36500)
@description('Days that verdicts are kept; 0 for ever. The last pass and the last fail of a machine stay.')
param keepVerdictsDays int = 0

@minValue(0)
@maxValue(36500)
@description('Days that events are kept; 0 for ever.')
param keepEventsDays int = 0

@minValue(1)
@maxValue(8)
@description('Storage accounts that machines are spread over. It cannot be changed later.')
param stateAccounts int = 1

@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('How often the state is kept.')
param stateSku string = 'Standard_ZRS'

@allowed([512, 2048, 4096])
@description('Memory of an instance, in MB.')
param instanceMemoryMB int = 2048

@minValue(40)
@maxValue(1000)
@description('The most instances.')
param maximumInstances int = 100

@minValue(0)
@maxValue(20)
@description('Instances that are there before anybody asks; with 0 the first machine of a quiet hour waits for a start.')
param alwaysReadyInstances int = 1

@minValue(1)
@maxValue(1000)
@description('Attestations that one instance works on at a time.')
param perInstanceConcurrency int = 16

@allowed(['standard', 'premium'])
@description('premium keeps the vault\'s keys in hardware.')
param vaultSku string = 'standard'

@minValue(28)
@maxValue(730)
@description('Days after which the key that wraps keys of payloads gets another version.')
param rotateWrappingKeyDays int = 180

@description('Whether the service itself may make another version of it: keylime payload rotate --vault.')
param serviceMayRotate bool = false

@description('Whether stores and vault are reached in a private network alone.')
param privateNetwork bool = true

@description('Whether what the stores of state hold is encrypted with a key of the vault, which is then needed to read any of it. It cannot be changed later.')
param customerManagedKeys bool = false

@minValue(30)
@maxValue(730)
@description('Days that logs are kept.')
param logRetentionDays int = 90

@description('Which requests to the stores of state are logged, each as one line: reads and writes are three lines an attestation.')
param loggedState ('StorageRead' | 'StorageWrite' | 'StorageDelete')[] = [
  'StorageRead'
  'StorageWrite'
  'StorageDelete'
]

@minValue(1)
@maxValue(365)
@description('Days that deleted blobs can be brought back.')
param softDeleteDays int = 30

@description('How many of all requests are traced, from 0 to 1: docs/telemetry.md and docs/azure-cost.md.')
param traceRatio string = '0.05'

@description('Addresses that alerts are sent to.')
param alertEmails string[] = []

@description('Tags of every resource.')
param tags object = {}

var suffix = uniqueString(resourceGroup().id, name)
var packageContainer = 'packages'
var stateKey = 'keylime-state'
var storageType = 'Microsoft.Storage/storageAccounts'

// What the service keeps rows in (functions/Storage/RecordKinds.cs); it would make them itself.
var tables = [
  'keylimenodes'
  'keylimeverdicts'
  'keylimeevents'
  'keylimeoutbox'
  'keylimedeliveries'
  'keylimecompiled'
  'keylimemeta'
  'keylimeregistrations'
  'keylimepolicies'
  'keylimesigners'
  'keylimeowners'
  'keylimeknownkeys'
  'keylimetrusted'
  'keylimerules'
  'keylimetimers'
  'keylimewebhooks'
  'keylimepayloads'
  'keylimeshares'
  'keylimeclaims'
  'keylimereleases'
  'keylimenotices'
  'keylimenoticeclaims'
  'keylimemasterkeys'
  'keylimetokens'
]

// Of deliveries, on the first account alone (functions/Storage/Azure/AzureAccounts.cs, functions/triggers).
var queues = [
  'keylime-deliveries'
  'keylime-deliveries-poison'
]

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: '${name}-identity'
  location: location
  tags: tags
}

module monitoring 'modules/monitoring.bicep' = {
  params: {
    location: location
    name: name
    retentionDays: logRetentionDays
    principalId: identity.properties.principalId
    alertEmails: alertEmails
    tags: tags
  }
}

module subnets 'modules/subnets.bicep' = if (privateNetwork) {
  params: {
    location: location
    name: name
    tags: tags
  }
}

// The host's own: locks, timers' states, and the package. Nothing of a machine is in it.
module host 'modules/storage.bicep' = {
  name: 'host-storage'
  params: {
    location: location
    name: take('${name}host${suffix}', 24)
    sku: 'Standard_LRS'
    containers: [packageContainer]
    logged: ['StorageRead', 'StorageWrite', 'StorageDelete']
    actionGroupId: monitoring.outputs.actionGroupId
    publicNetwork: !privateNetwork
    softDeleteDays: softDeleteDays
    workspaceId: monitoring.outputs.workspaceId
    tags: tags
  }
}

module hostRoles 'modules/storage-roles.bicep' = {
  params: {
    accountName: host.outputs.name
    principalId: identity.properties.principalId
    roleIds: [blobDataOwner, queueDataContributor, tableDataContributor]
  }
}

module state 'modules/storage.bicep' = [
  for i in range(0, stateAccounts): {
    name: 'state-storage-${i}'
    params: {
      location: location
      name: take('${name}state${i}${suffix}', 24)
      sku: stateSku
      encryption: customerManagedKeys
        ? {
            vaultUri: 'https://${take('${name}-${suffix}', 24)}${environment().suffixes.keyvaultDns}'
            keyName: stateKey
            identityId: encryptionIdentity.id
          }
        : null
      tables: tables
      containers: ['keylime']
      queues: i == 0 ? queues : []
      logged: loggedState
      actionGroupId: monitoring.outputs.actionGroupId
      publicNetwork: !privateNetwork
      softDeleteDays: softDeleteDays
      workspaceId: monitoring.outputs.workspaceId
      tags: tags
    }
    dependsOn: [encryption]
  }
]

module stateRoles 'modules/storage-roles.bicep' = [
  for i in range(0, stateAccounts): {
    name: 'state-roles-${i}'
    params: {
      accountName: state[i].outputs.name
      principalId: identity.properties.principalId
      roleIds: concat([blobDataContributor, tableDataContributor], i == 0 ? [queueDataContributor] : [])
    }
  }
]

module vault 'modules/vault.bicep' = {
  params: {
    location: location
    name: take('${name}-${suffix}', 24)
    principalId: identity.properties.principalId
    publicNetwork: !privateNetwork
    sku: vaultSku
    rotateAfterDays: rotateWrappingKeyDays
    serviceMayRotate: serviceMayRotate
    trustedServices: customerManagedKeys
    actionGroupId: monitoring.outputs.actionGroupId
    workspaceId: monitoring.outputs.workspaceId
    tags: tags
  }
}

// Storage is this one when it encrypts; it may do nothing else.
resource encryptionIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = if (customerManagedKeys) {
  name: '${name}-encryption'
  location: location
  tags: tags
}

module encryption 'modules/encryption.bicep' = if (customerManagedKeys) {
  params: {
    vaultName: take('${name}-${suffix}', 24)
    keyName: stateKey
    sku: vaultSku
    rotateAfterDays: rotateWrappingKeyDays
    principalId: encryptionIdentity!.properties.principalId
  }
  dependsOn: [vault]
}

var zoneOf = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
}

module network 'modules/network.bicep' = if (privateNetwork) {
  params: {
    location: location
    name: name
    zones: [zoneOf.blob, zoneOf.queue, zoneOf.table, zoneOf.vault]
    targets: concat(
      [
        {
          name: 'host-blob'
          type: storageType
          resource: take('${name}host${suffix}', 24)
          service: 'blob'
          zone: zoneOf.blob
        }
        {
          name: 'host-queue'
          type: storageType
          resource: take('${name}host${suffix}', 24)
          service: 'queue'
          zone: zoneOf.queue
        }
        {
          name: 'host-table'
          type: storageType
          resource: take('${name}host${suffix}', 24)
          service: 'table'
          zone: zoneOf.table
        }
        {
          name: 'state0-queue'
          type: storageType
          resource: take('${name}state0${suffix}', 24)
          service: 'queue'
          zone: zoneOf.queue
        }
        {
          name: 'vault'
          type: 'Microsoft.KeyVault/vaults'
          resource: take('${name}-${suffix}', 24)
          service: 'vault'
          zone: zoneOf.vault
        }
      ],
      map(range(0, stateAccounts), i => {
        name: 'state${i}-table'
        type: storageType
        resource: take('${name}state${i}${suffix}', 24)
        service: 'table'
        zone: zoneOf.table
      }),
      map(range(0, stateAccounts), i => {
        name: 'state${i}-blob'
        type: storageType
        resource: take('${name}state${i}${suffix}', 24)
        service: 'blob'
        zone: zoneOf.blob
      })
    )
    tags: tags
  }
  dependsOn: [subnets, host, state, vault]
}

module app 'modules/app.bicep' = {
  params: {
    location: location
    name: '${name}-${suffix}'
    identityId: identity.id
    identityClientId: identity.properties.clientId
    hostAccountName: host.outputs.name
    hostBlobEndpoint: host.outputs.blobEndpoint
    packageContainer: packageContainer
    queueEndpoint: state[0].outputs.queueEndpoint
    insightsConnectionString: monitoring.outputs.connectionString
    subnetId: subnets.?outputs.appSubnetId ?? ''
    instanceMemoryMB: instanceMemoryMB
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    perInstanceConcurrency: perInstanceConcurrency
    settings: concat(
      [
        {
          name: 'KEYLIME_SERVICE_DATA'
          value: '/tmp/keylime'
        }
        {
          name: 'KEYLIME_SERVICE_INTERVAL'
          value: '${intervalSeconds}'
        }
        {
          name: 'KEYLIME_SERVICE_AZURE_ACCOUNT'
          value: join(map(range(0, stateAccounts), i => take('${name}state${i}${suffix}', 24)), ',')
        }
        {
          name: 'KEYLIME_SERVICE_KEY_VAULT'
          value: vault.outputs.uri
        }
        {
          name: 'KEYLIME_SERVICE_OPERATOR_TOKEN'
          value: operatorToken
        }
        {
          name: 'KEYLIME_SERVICE_TRACE_RATIO'
          value: traceRatio
        }
      ],
      empty(entraTenant)
        ? []
        : [
            {
              name: 'KEYLIME_SERVICE_ENTRA_TENANT'
              value: entraTenant
            }
            {
              name: 'KEYLIME_SERVICE_ENTRA_AUDIENCE'
              value: entraAudience
            }
            {
              name: 'KEYLIME_SERVICE_ENTRA_CLIENT'
              value: entraClient
            }
          ],
      keepVerdictsDays == 0
        ? []
        : [
            {
              name: 'KEYLIME_SERVICE_KEEP_VERDICTS'
              value: '${keepVerdictsDays}d'
            }
          ],
      keepEventsDays == 0
        ? []
        : [
            {
              name: 'KEYLIME_SERVICE_KEEP_EVENTS'
              value: '${keepEventsDays}d'
            }
          ]
    )
    workspaceId: monitoring.outputs.workspaceId
    tags: tags
  }
  dependsOn: [hostRoles, stateRoles, network]
}

@description('What agents and operators are given: verifier_url, and keylime login --url.')
output serviceUrl string = app.outputs.url

@description('Where a package is deployed to.')
output functionAppName string = app.outputs.name

@description('The vault, whose public key keylime payload put --vault-key checks.')
output vaultUri string = vault.outputs.uri

@description('Client id of the service\'s identity.')
output identityClientId string = identity.properties.clientId

@description('Where logs are.')
output workspaceId string = monitoring.outputs.workspaceId
