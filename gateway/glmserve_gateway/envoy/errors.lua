-- Makes OpenAI's error body the body of the HTTP answer. A failed call of OpenAIService carries it in its metadata; a
-- failure that the service never saw (a message too long for gRPC, a reset connection) has only a gRPC message.
-- Routes of native gRPC do not come here.

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function quote(text)
  local escaped = text:gsub('[%c"\\]', function(char) return string.format("\\u%04x", char:byte()) end)
  return '"' .. escaped .. '"'
end

local function error_type(status)
  if status == "401" then return "authentication_error" end
  if status == "429" then return "rate_limit_error" end
  return status:sub(1, 1) == "5" and "server_error" or "invalid_request_error"
end

local function error_body(message, status)
  if message:sub(1, 9) == '{"error":' then return message end -- a local reply, worded already
  return '{"error":{"message":' .. quote(message) .. ',"type":"' .. error_type(status) .. '","param":null,"code":null}}'
end

-- What the server reads, and what the edge needs to send a request on. Other headers would be metadata of gRPC, which
-- takes some for its own (grpc-timeout) or fails on them (-bin, letters that are not ASCII).
local KNOWN = {
  ["authorization"] = true, ["content-length"] = true, ["content-type"] = true, ["transfer-encoding"] = true,
  ["x-forwarded-for"] = true, ["x-request-id"] = true,
}
local LONGEST_HEAD = 8192 -- what servers of gRPC take

local function is_known(name, value)
  return name:sub(1, 1) == ":" or (KNOWN[name] and not value:find("[^\32-\126]"))
end

-- Says whether what is left is short enough.
local function trim_headers(headers)
  local unknown, length = {}, 0
  for name, value in pairs(headers) do
    if is_known(name, value) then length = length + #value else unknown[#unknown + 1] = name end
  end
  for _, name in ipairs(unknown) do headers:remove(name) end
  return length <= LONGEST_HEAD
end

function envoy_on_request(handle)
  if not trim_headers(handle:headers()) then
    handle:respond({[":status"] = "431"}, "The address and the headers are too long")
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  local grpc_status = headers:get("grpc-status")
  local message = headers:get("grpc-message")
  local body = headers:get("x-glmserve-error")
  headers:remove("grpc-status")
  headers:remove("grpc-message")
  headers:remove("grpc-status-details-bin")
  headers:remove("grpc-accept-encoding")
  headers:remove("x-glmserve-error")
  if grpc_status == nil or grpc_status == "0" then return end
  headers:replace("content-type", "application/json")
  handle:body(true):setBytes(body or error_body(unescape(message or "The server gave no answer"), status))
end
