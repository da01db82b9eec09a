#!lua name=herod
-- What must happen as one, in herod's queues (see queue.c).
--
-- Each function may be executed twice (a connection lost before its answer
-- came): the second time changes nothing.  All but create run with a full
-- Redis, because they only let things drain.  KEYS are keys of one queue;
-- keys of jobs that are only known here are made from a prefix in ARGV.

local OVER = { finished = true, error = true }

-- LREM walks the list: longer ones keep the id, which take then skips.
local SHORT_LIST = 10000

local function push_reply(key, text)
	if key ~= '' then
		redis.call('RPUSH', key, text)
		redis.call('EXPIRE', key, 60)
	end
end

-- KEYS job list index; ARGV id score field value...
-- A job whose id the caller chose.  0: there is one of that id.
local function create(keys, args)
	if redis.call('EXISTS', keys[1]) == 1 then
		return 0
	end
	redis.call('HSET', keys[1], unpack(args, 3))
	redis.call('RPUSH', keys[2], args[1])
	redis.call('ZADD', keys[3], args[2], args[1])
	return 1
end

-- KEYS list own index
-- ARGV prefix epoch sequence node now score limit label...
-- Claims the next jobs, one for each label (RUNNER/INSTANCE...).  Ids whose job is
-- not waiting (cancelled, pushed twice) are passed over; at most limit ids
-- are looked at.  {more, {id, fields}..., {id without job...}}
local function take(keys, args)
	local prefix, epoch, sequence = args[1], args[2], tonumber(args[3])
	local node, now, score = args[4], args[5], args[6]
	local at, looked, lost, found = 8, 0, {}, {}

	while at <= #args and looked < tonumber(args[7]) do
		local id = redis.call('LPOP', keys[1])
		if not id then
			break
		end
		looked = looked + 1
		local job = prefix .. id
		local status = redis.call('HGET', job, 'status')
		if status == 'dispatched' or status == 'created' then
			local fields = redis.call('HGETALL', job)
			redis.call('HSET', keys[2], id,
				epoch .. ' ' .. sequence .. ' ' .. args[at])
			redis.call('HSET', job, 'status', 'started',
				'started_at', now, 'node', node,
				'instance', string.match(args[at], '/(%d+)'))
			redis.call('HINCRBY', job, 'attempts', 1)
			if redis.call('HEXISTS', job, 'herod') == 0 then
				redis.call('PERSIST', job)
				redis.call('ZADD', keys[3], 'NX', score, id)
			end
			found[#found + 1] = { id, fields }
			sequence = sequence + 1
			at = at + 1
		elseif not status then
			lost[#lost + 1] = id
		end
	end
	return { redis.call('LLEN', keys[1]) > 0 and 1 or 0, found, lost }
end

-- KEYS job own done; ARGV id ttl_ms forget_ms reply_key reply field value...
-- 0: it was over before.
local function finish(keys, args)
	local status = redis.call('HGET', keys[1], 'status')

	if redis.call('HDEL', keys[2], args[1]) == 0 and OVER[status] then
		return 0
	end
	redis.call('HSET', keys[1], unpack(args, 6))
	redis.call('PEXPIRE', keys[1], args[2])
	redis.call('ZADD', keys[3], args[3], args[1])
	push_reply(args[4], args[5])
	return 1
end

-- KEYS job own list done; ARGV id end(head|tail) uncounted died ttl_ms now_ms
-- Back to the queue.  uncounted: the attempt did not happen; died: a worker
-- died of it.  0: it was not ours any more, or it is over: then its daemon
-- died between its end and taking the claim off, and its time begins now.
local function give_back(keys, args)
	local job, id = keys[1], args[1]
	local status = redis.call('HGET', job, 'status')

	if redis.call('HDEL', keys[2], id) == 0 or not status then
		return 0
	end
	if OVER[status] then
		local own = tonumber(redis.call('HGET', job, 'result_ttl'))
		local ttl = own and math.floor(own * 1000) or args[5]
		if redis.call('PTTL', job) < 0 then
			redis.call('PEXPIRE', job, ttl)
			redis.call('ZADD', keys[4], args[6] + ttl, id)
		end
		return 0
	end
	redis.call('HSET', job, 'status', 'dispatched')
	redis.call('HDEL', job, 'node', 'instance', 'started_at')
	if args[3] == '1' then
		redis.call('HINCRBY', job, 'attempts', -1)
	end
	if args[4] == '1' then
		redis.call('HINCRBY', job, 'deaths', 1)
	end
	redis.call(args[2] == 'head' and 'LPUSH' or 'RPUSH', keys[3], id)
	return 1
end

-- KEYS job own list; ARGV id claim node field value...
-- After Redis lost its last seconds: we do hold that job.  0: it is over,
-- or somebody else has begun it.
local function keep(keys, args)
	local status = redis.call('HGET', keys[1], 'status')
	local node = redis.call('HGET', keys[1], 'node')

	if OVER[status] or node and node ~= args[3] then
		return 0
	end
	if status ~= 'started' and status ~= 'stopping' then
		redis.call('LREM', keys[3], 1, args[1])
	end
	redis.call('HSET', keys[2], args[1], args[2])
	redis.call('HSET', keys[1], unpack(args, 4))
	return 1
end

-- KEYS job list done; ARGV id now ttl_ms forget_ms reply_key
-- A job that waits never starts.  The status it had; "" without a job.
local function cancel(keys, args)
	local status = redis.call('HGET', keys[1], 'status')

	if status ~= 'created' and status ~= 'dispatched' then
		return status or ''
	end
	redis.call('HSET', keys[1], 'status', 'error', 'reason', 'cancelled',
		'error', 'cancelled', 'finished_at', args[2])
	if redis.call('LLEN', keys[2]) <= SHORT_LIST then
		redis.call('LREM', keys[2], 1, args[1])
	end
	redis.call('PEXPIRE', keys[1], args[3])
	redis.call('ZADD', keys[3], args[4], args[1])
	if redis.call('HEXISTS', keys[1], 'herod') == 0 then
		push_reply(args[5], 'cancelled')
	end
	return status
end

-- Walks one index, newest first, behind a place (score, id).
local function walker(key, score, id)
	local page, at, last, skip = {}, 1, score, 0

	-- A new page begins at the last score, behind those seen of it.
	local function next_page()
		page = redis.call('ZREVRANGEBYSCORE', key, last, '-inf',
			'WITHSCORES', 'LIMIT', skip, 100)
		at = 1
		return #page > 0
	end
	return function()
		while at <= #page or next_page() do
			local found, its = page[at], page[at + 1]
			at = at + 2
			skip = its == last and skip + 1 or 1
			last = its
			if its ~= score or id == '' or found < id then
				return found, its
			end
		end
	end
end

-- The newest of those that the walkers stand at.
local function newest(heads)
	local best = 1

	for i = 2, #heads do
		local a, b = heads[i], heads[best]
		if a.score > b.score or
		    (a.score == b.score and a.id > b.id) then
			best = i
		end
	end
	return best
end

local function walk_on(heads, i)
	local id, score = heads[i].step()

	if id then
		heads[i].id, heads[i].score = id, tonumber(score)
		heads[i].place = { score, id }
	else
		table.remove(heads, i)
	end
end

-- KEYS index, or the set of names of all queues
-- ARGV prefix runner status reason limit looks score id index_prefix field...
-- A page of jobs, newest first, behind (score, id); "" for any runner or
-- status.  index_prefix is "" when KEYS is the index.  Looks at so many ids
-- at most.  {score, id} to go on from ("" at
-- the end), then {id, values} of each.  Ids without a job are forgotten.
local function list(keys, args)
	local prefix, runner, status, reason = args[1], args[2], args[3], args[4]
	local limit, looks = tonumber(args[5]), tonumber(args[6])
	local heads, page, gone, place = {}, {}, {}, nil

	if args[9] ~= '' then
		keys = redis.call('SMEMBERS', keys[1])
	end
	for i = #keys, 1, -1 do
		local key = args[9] .. keys[i]
		table.insert(heads, 1, { key = key,
			step = walker(key, args[7], args[8]) })
		walk_on(heads, 1)
	end
	while #heads > 0 and #page < limit and looks > 0 do
		local i = newest(heads)
		local head = heads[i]
		local v = redis.call('HMGET', prefix .. head.id, 'status',
			'reason', 'runner', unpack(args, 10))
		looks = looks - 1
		place = head.place
		if not v[1] then
			gone[#gone + 1] = { head.key, head.id }
		elseif (status == '' or v[1] == status and
		    (v[2] or '') == reason) and
		    (runner == '' or v[3] == runner) then
			page[#page + 1] = { head.id, v }
		end
		walk_on(heads, i)
	end
	for _, it in ipairs(gone) do
		redis.call('ZREM', it[1], it[2])
	end
	return { #heads > 0 and place or { '', '' }, page }
end

-- KEYS list; ARGV prefix
-- {jobs that wait, when the first of them was created}; of a long row of
-- cancelled jobs at the head only some are passed over.
local function depth(keys, args)
	local n = redis.call('LLEN', keys[1])

	for _, id in ipairs(n > 0 and redis.call('LRANGE', keys[1], 0, 99) or {}) do
		local job = redis.call('HMGET', args[1] .. id,
			'status', 'created_at')
		if job[1] and not OVER[job[1]] then
			return { n, job[2] or '' }
		end
	end
	return { n, '' }
end

-- KEYS index done; ARGV now_ms count
-- Forgets ids whose jobs have expired.  How many.
local function trim(keys, args)
	local ids = redis.call('ZRANGEBYSCORE', keys[2], '-inf', args[1],
		'LIMIT', 0, args[2])

	if #ids > 0 then
		redis.call('ZREM', keys[1], unpack(ids))
		redis.call('ZREM', keys[2], unpack(ids))
	end
	return #ids
end

-- KEYS node names; ARGV name step
-- A daemon begins (step 1) or meets Redis again (0).  {epoch, names of all queues there ever were}
local function begin(keys, args)
	redis.call('HSET', keys[1], 'name', args[1])
	return { redis.call('HINCRBY', keys[1], 'epoch', args[2]),
		redis.call('SMEMBERS', keys[2]) }
end

local function register(name, callback)
	redis.register_function({ function_name = 'herod_' .. name,
		callback = callback, flags = { 'allow-oom' } })
end

redis.register_function('herod_create', create)
register('take', take)
register('finish', finish)
register('give_back', give_back)
register('keep', keep)
register('cancel', cancel)
register('list', list)
register('trim', trim)
register('depth', depth)
register('begin', begin)
